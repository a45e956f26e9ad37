"""Entry point: ``python -I -S SOURCE_DIRECTORY daemon|preloader|connect …``.

The directory is run by its path, so that the daemon and the thin client start without the
site packages: a quick start, a small daemon, and nothing installed there can change them.
"""

import sys


def main() -> int:
    roles = ("daemon", "preloader", "connect")
    if len(sys.argv) < 2 or sys.argv[1] not in roles:
        print(f"cataloger_sandbox: say what to be: {', '.join(roles)}", file=sys.stderr)
        return 2
    role, arguments = sys.argv[1], sys.argv[2:]
    if role == "daemon":
        # Without OpenSSL the daemon is 4 MiB smaller; hashlib has a SHA-256 of its own. Only
        # here: code in a session may need the real thing.
        sys.modules.setdefault("_hashlib", None)
        from cataloger_sandbox.daemon import main as run
    elif role == "preloader":
        from cataloger_sandbox.preloader import main as run
    else:
        from cataloger_sandbox.connect import main as run
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
