"""The preloaded parent: imports the data packages, never uses them, and forks sessions.

A parent that has once *used* polars gives children that hang, so nothing is run here. It is
told by the daemon, over a socket, to empty directories or to fork; it holds no secret.
"""

import gc
import importlib
import json
import os
import signal
import socket
import sys
import warnings

from cataloger_sandbox import linux, session, sweep
from cataloger_sandbox.options import SESSION_BROKEN


def preload(modules: list[str]) -> list[str]:
    """Import what is there; the names of what is not."""
    missing = []
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 - a package that fails here fails again, visibly, in a cell
            missing.append(name)
    # What was imported is garbage-free and shared with every session: collecting it there
    # would only copy its pages.
    gc.collect()
    gc.freeze()
    return missing


def _fork(control: socket.socket, options: dict) -> int:
    """Fork a session that becomes the daemon's own child, so that the daemon sees it end."""
    report, told = os.pipe()
    middle = os.fork()
    if middle == 0:
        try:
            pid = os.fork()
            if pid == 0:
                os.close(report)
                os.close(told)
                control.close()
                _session(options)
            os.write(told, str(pid).encode())
        finally:
            os._exit(0)
    os.close(told)
    try:
        # The orphan belongs to the nearest subreaper, the daemon, once the middle has ended.
        os.waitpid(middle, 0)
        return int(os.read(report, 32) or b"0")
    finally:
        os.close(report)


def _session(options: dict) -> None:
    try:
        session.run(options)
    except BaseException as error:  # noqa: BLE001 - nothing may go back into the preloader's loop
        print(f"cataloger_sandbox: the session failed: {error!r}", file=sys.stderr)
    finally:
        os._exit(SESSION_BROKEN)


def _receive(control: socket.socket) -> tuple[dict, list[int]] | None:
    data, descriptors, _, _ = socket.recv_fds(control, 65536, 8)
    if not data:
        return None
    return json.loads(data), list(descriptors)


def main(arguments: list[str]) -> int:
    """Run as a process: ``preloader OPTIONS``, the daemon's socket as descriptor 3."""
    linux.set_dumpable(False)
    linux.die_with_parent()
    # Ctrl-C on a developer's terminal is for the controller.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    options = json.loads(arguments[0])
    # What code starts by this name is its own, to read and to trace as it likes.
    directory, name = os.path.split(sys.executable)
    sys.executable = os.path.join(directory, name.removesuffix("-untraceable"))
    control = socket.socket(fileno=3)
    os.chdir("/")  # some packages look for settings where they are
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        missing = preload(options["preload"])
    try:
        _serve(control, options, missing)
    except BrokenPipeError:
        pass  # the daemon has ended
    return 0


def _serve(control: socket.socket, options: dict, missing: list[str]) -> None:
    control.send(json.dumps({"type": "loaded", "missing": missing}).encode())
    while True:
        received = _receive(control)
        if received is None:
            return
        message, descriptors = received
        if message["type"] == "sweep":
            failed = []
            for directory, only_uid in message["directories"]:
                failed += sweep.empty(directory, only_uid)
            if message["ipc"]:
                linux.remove_ipc()
            answer = {"type": "swept", "failed": failed[:20]}
        else:
            with warnings.catch_warnings():
                # Threads of imported packages sleep; "never uses them" is what makes this safe.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = _fork(control, options | {"descriptors": descriptors})
            for descriptor in descriptors:
                os.close(descriptor)
            answer = {"type": "forked", "pid": pid}
        control.send(json.dumps(answer).encode())
