"""The session: the child that runs the agent's code, in one namespace that lasts.

Hostile code shares this process. What is done here is for those who behave; what must hold
against those who don't is the daemon's.
"""

import ast
import asyncio
import builtins
import fcntl
import inspect
import io
import json
import linecache
import os
import resource
import signal
import socket
import sys
import traceback
import types
from collections import deque
from collections.abc import Coroutine

from cataloger_sandbox import fence, linux
from cataloger_sandbox.database import connect_database
from cataloger_sandbox.display import Display
from cataloger_sandbox.frames import Reader, decode, encode, frame
from cataloger_sandbox.streams import Sink, Text

# Where the session's own descriptors live, out of the way of loops like closerange(3, 256).
_HIGH = 900
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_CELLS_KEPT = 64
_CELL_BYTES_KEPT = 8 * 1024 * 1024
_FUTURE_FLAGS = 0x1FF0000  # what "from __future__ import" sets in a code object
_MESSAGE_LIMIT = 1000


def _preflight(*tables, **options) -> None:
    """Survey the database. What that needs is imported here: most sessions never do."""
    from cataloger_sandbox.preflight import preflight

    preflight(*tables, **options)


class InputNotAvailable(RuntimeError):
    """``input()`` was called, and nobody is there to answer."""


def _no_input(_prompt: object = "") -> str:
    raise InputNotAvailable("input() can't be answered here: nobody is at the keyboard")


def _move_high(descriptor: int) -> int:
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    os.close(descriptor)
    return high


class Session:
    """One namespace, and the loop that runs cells in it."""

    def __init__(self, control: socket.socket, background: int) -> None:
        self._control = control
        self._reader = Reader()
        self._pid = os.getpid()
        self._interruptible = False
        self._future = 0
        self._cells: deque[tuple[str, int]] = deque()
        self._null = _move_high(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        self._background = background
        self._sink = Sink(background)
        self._display = Display()
        self._loop: asyncio.AbstractEventLoop | None = None
        os.register_at_fork(after_in_child=self._control.close)
        # A module of its own, so that pickled classes and functions find their home.
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        self.namespace = module.__dict__
        self.namespace.update(__builtins__=builtins, connect_database=connect_database)
        # For the operator, before an agent's first cell; agents are told nothing of it.
        self.namespace["_preflight"] = _preflight
        builtins.input = _no_input
        builtins.print = self._display.print
        self._restore()
        os.dup2(background, 1)
        os.dup2(background, 2)

    # The loop.

    def serve(self) -> None:
        """Run cells until the daemon closes the channel."""
        while True:
            received = self._receive()
            if received is None:
                os._exit(0)
            message, descriptors = received
            output, source = descriptors
            code = os.pread(source, os.fstat(source).st_size, 0)
            os.close(source)
            self._run(message, code.decode("utf-8", "surrogatepass"), output)

    def _receive(self) -> tuple[dict, list[int]] | None:
        descriptors: list[int] = []
        while (payload := self._reader.next()) is None:
            data, arrived, _, _ = socket.recv_fds(self._control, 65536, 4)
            if not data:
                return None
            self._reader.feed(data)
            descriptors += arrived
        return decode(payload), descriptors

    def send(self, message: dict) -> None:
        """Tell the daemon."""
        self._control.sendall(frame(encode(message)))

    def _run(self, message: dict, code: str, output: int) -> None:
        output = _move_high(output)
        call = message["id"]
        self._restore()
        os.dup2(output, 1)
        os.dup2(output, 2)
        self._sink.begin(call, output)
        done = {"type": "done", "nonce": message["nonce"], "ok": True, "error": None}
        try:
            error = self._execute(code, call, message["max_rows"])
            if error is not None:
                done |= {"ok": False, "error": error}
        except BaseException as late:  # noqa: BLE001 - an interrupt that came a moment too late
            self._interruptible = False
            done |= {"ok": False, "error": _describe(late)}
        self._sink.end()
        os.dup2(self._background, 1)
        os.dup2(self._background, 2)
        try:
            os.close(output)
        except OSError:
            pass  # the code closed it
        self.send(done)

    def _restore(self) -> None:
        """Put back what code may have closed or replaced."""
        os.dup2(self._null, 0)
        if not (isinstance(sys.stdin, io.TextIOWrapper) and not sys.stdin.closed):
            sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - lives on
        # New ones: the old may have been bent. Who still holds them writes to the same sink.
        sys.stdout = sys.__stdout__ = Text(self._sink, 1, "<stdout>")
        sys.stderr = sys.__stderr__ = Text(self._sink, 2, "<stderr>")
        builtins.print = self._display.print
        signal.signal(signal.SIGINT, self._on_interrupt)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def _on_interrupt(self, _number: int, _frame: object) -> None:
        if self._interruptible:
            raise KeyboardInterrupt

    # A cell.

    def _execute(self, code: str, call: int, max_rows: int) -> dict | None:
        name = f"<cell {call}>"
        error = None
        try:
            self._interruptible = True
            self._remember(name, code)
            self._display.begin(max_rows)
            value = self._evaluate(code, name)
            if value is not None and not code.rstrip().endswith(";"):
                self.namespace["_"] = value
                self._sink.write_text(self._display.echo(value) + "\n")
        except BaseException as raised:  # noqa: BLE001 - whatever the code raises is its answer
            self._interruptible = False
            if os.getpid() == self._pid:
                error = _describe(raised)
                self._sink.write_text(_format(raised))
        finally:
            self._interruptible = False
        if os.getpid() != self._pid:
            # The code forked, and this is the child that came back into our loop.
            self._sink.flush()
            os._exit(0)
        return error

    def _remember(self, name: str, code: str) -> None:
        """Keep the source for tracebacks, the latest cells only."""
        linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        self._cells.append((name, len(code)))
        while len(self._cells) > _CELLS_KEPT or (
            len(self._cells) > 1 and sum(size for _, size in self._cells) > _CELL_BYTES_KEPT
        ):
            linecache.cache.pop(self._cells.popleft()[0], None)

    def _evaluate(self, code: str, name: str) -> object:
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | self._future
        tree = compile(code, name, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr):
            last = ast.Expression(tree.body.pop().value)
        parts = [compile(tree, name, "exec", flags, dont_inherit=True)]
        if last is not None:
            parts.append(compile(last, name, "eval", flags, dont_inherit=True))
        self._future |= parts[0].co_flags & _FUTURE_FLAGS
        if any(part.co_flags & inspect.CO_COROUTINE for part in parts):
            value = self._await(self._together(parts))
        else:
            for part in parts:
                value = eval(part, self.namespace)  # noqa: S307 - running code is what this is for
        return value if last is not None else None

    async def _together(self, parts: list[types.CodeType]) -> object:
        """All of a cell that awaits anywhere, so that a loop runs also where it does not."""
        value = None
        for part in parts:
            value = eval(part, self.namespace)  # noqa: S307 - likewise
            if part.co_flags & inspect.CO_COROUTINE:
                value = await value
        return value

    def _await(self, coroutine: Coroutine) -> object:
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(coroutine)
        try:
            return self._loop.run_until_complete(task)
        except KeyboardInterrupt:
            # What was awaited must not go on in a later cell.
            task.cancel()
            try:
                self._loop.run_until_complete(task)
            except asyncio.CancelledError:
                pass
            raise


def _describe(error: BaseException) -> dict:
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - the exception is the agent's own class
        message = "<its text can't be made>"
    return {"name": type(error).__name__, "message": message[:_MESSAGE_LIMIT]}


def _format(error: BaseException) -> str:
    """A traceback without the session's own frames."""
    if isinstance(error, SystemExit):
        return f"SystemExit: {error.code!r} (the session goes on)\n"
    summary = traceback.TracebackException.from_exception(error)
    waiting, seen = [summary], set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.stack[:] = [entry for entry in one.stack if not entry.filename.startswith(_OURS)]
        waiting += [one.__cause__, one.__context__, *(one.exceptions or ())]
    return "".join(summary.format())


def _limit(rlimits: dict[str, int]) -> None:
    for name, value in rlimits.items():
        kind = getattr(resource, f"RLIMIT_{name.upper()}")
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(kind, (value, value))


def run(options: dict) -> None:
    """Be the session; called in the forked child, with nothing of the agent's run yet."""
    os.setsid()
    descriptors = [_move_high(descriptor) for descriptor in options["descriptors"]]
    # What goes wrong from here on is told as the reason why no session could start.
    os.dup2(descriptors[1], 1)
    os.dup2(descriptors[1], 2)
    linux.set_dumpable(True)
    _limit(options["rlimits"])
    os.nice(options["nice"])
    try:
        # Should memory run out faster than the daemon looks, the kernel takes this one first.
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except OSError:
        pass
    control = socket.socket(fileno=descriptors[0])
    # The daemon speaks only once we are its child, so the parent is the right one by now.
    data, _, _, _ = socket.recv_fds(control, 1 << 20, 0)
    linux.die_with_parent()
    fence.put_up(os.getppid())
    reader = Reader()
    reader.feed(data)
    while (payload := reader.next()) is None:
        if not (data := control.recv(1 << 20)):
            os._exit(0)  # the daemon has given this start up
        reader.feed(data)
    start = json.loads(payload)
    os.environ.update({"HOME": options["work"]} | start["env"])
    os.chdir(options["work"])
    sys.path[:] = [
        options["work"],
        *(p for p in sys.path if not p.startswith(os.path.dirname(_OURS[:-1]))),
    ]
    sys.argv = [""]
    session = Session(control, descriptors[1])
    session.send({"type": "ready"})
    session.serve()
