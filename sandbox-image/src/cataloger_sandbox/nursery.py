"""The preloader as the daemon sees it: a process that can be started, asked, and lost.

It is only ever started while no process of a session lives: in its first moments it could be
traced.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable

from cataloger_sandbox import linux
from cataloger_sandbox.events import Events
from cataloger_sandbox.options import Options

# Where a user's processes may leave files for others to find.
_SHARED = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue")  # noqa: S108 - to empty them


class Nursery:
    """Starts the preloader, and speaks with it."""

    def __init__(
        self, options: Options, events: Events, on_message: Callable[[dict], None]
    ) -> None:
        self._options = options
        self._events = events
        self._on_message = on_message
        self._socket: socket.socket | None = None
        self.pid: int | None = None
        self.ready = False
        self.killed = False

    def start(self) -> None:
        """Start the preloader; it says ``loaded`` when its packages are imported."""
        options = self._options
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        source = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        arguments = {
            "preload": options.preload,
            "rlimits": options.rlimits,
            "work": options.work,
            # In a container of its own this takes nothing from a session, but that a thousand of
            # its processes keep the daemon from the processor.
            "nice": 19 if os.getpid() == 1 else 0,
        }
        self.pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", source, "preloader", json.dumps(arguments)],
            self._environment(),
            file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 3)],
            setsigmask=[],
            setsigdef=[signal.SIGPIPE],
            setpgroup=0,
        )
        theirs.close()
        self._socket = ours
        self.ready = self.killed = False
        self._events.on_readable(ours, self._hear)

    def _environment(self) -> dict[str, str]:
        """Nothing of the daemon's own environment but what programs can't do without.

        And nothing that leads imports to files that code may have written, since what they would
        do there lasts: the session gets its HOME for itself, and a later preloader finds nothing
        in the place where matplotlib keeps settings and fonts. That place and the caches are given,
        since fontconfig complains on the daemon's stderr where it can't write any.
        """
        options = self._options
        caches = os.path.join(options.tmp, f"caches-{os.urandom(8).hex()}")
        environment = {
            "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
            "HOME": "/nonexistent",
            "TMPDIR": options.tmp,
            "LANG": "C.UTF-8",
            "MPLBACKEND": "agg",
            "MPLCONFIGDIR": os.path.join(caches, "matplotlib"),
            "XDG_CACHE_HOME": caches,
        }
        for name in ("TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"):
            if name in os.environ:
                environment[name] = os.environ[name]
        return environment

    def sweep(self) -> None:
        """Empty every writable directory; it says ``swept``."""
        options = self._options
        own = dict.fromkeys([options.work, options.tmp, *options.writable])
        directories: list[tuple[str, int | None]] = [(path, None) for path in own]
        if options.own_uid:
            directories += [(path, os.getuid()) for path in _SHARED if path not in own]
        self._ask({"type": "sweep", "directories": directories, "ipc": options.own_uid}, [])

    def fork(self, descriptors: list[int]) -> None:
        """Fork a session that owns these descriptors; it says ``forked``."""
        self._ask({"type": "fork"}, descriptors)

    def _ask(self, message: dict, descriptors: list[int]) -> None:
        if self._socket is None or self.pid is None:
            return  # it has just ended, and ``ended`` is about to be called
        linux.signal_process(self.pid, signal.SIGCONT)
        try:
            socket.send_fds(self._socket, [json.dumps(message).encode()], descriptors)
        except OSError:
            pass  # likewise

    def _hear(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._close()
            return
        message = json.loads(data)
        if message["type"] == "loaded":
            self.ready = True
            if message["missing"]:
                names = ", ".join(message["missing"])
                print(f"cataloger_sandbox: not installed: {names}", file=sys.stderr)
        self._on_message(message)

    def kill(self) -> None:
        """End it; ``ended`` follows when it was reaped."""
        self.ready = False
        self.killed = True
        if self.pid is not None:
            linux.signal_process(self.pid, signal.SIGKILL)

    def ended(self) -> None:
        """It was reaped."""
        self.pid = None
        self.ready = False
        self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._events.forget(self._socket)
            self._socket.close()
            self._socket = None
