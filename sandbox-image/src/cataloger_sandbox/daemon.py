"""PID 1 of the sandbox: holds the key and the answers, and lets nobody else speak for it."""

import argparse
import json
import os
import signal
import socket
import sys
import time

from cataloger_sandbox import DEFAULT_SOCKET, PROTOCOL, checks, files, frames, linux, sweep
from cataloger_sandbox.events import Events
from cataloger_sandbox.frames import FrameError, Reader, decode, encode, frame
from cataloger_sandbox.keeper import Keeper, Unclearable
from cataloger_sandbox.ledger import Ledger, Refusal
from cataloger_sandbox.options import DEFAULT_MODULES, Options

BEAT_SECONDS = 5.0
DEAD_SECONDS = 3 * BEAT_SECONDS
HELLO_SECONDS = 10.0
# Of a stranger's frames: an environment of the first session fits in, a heap of garbage does not.
MAX_HELLO = 256 * 1024
MAX_STRANGERS = 8  # connections that have proven nothing yet
# A controller that does not read: output for its eyes is left out, then it is cut off.
_WATCHING_LIMIT = 1024 * 1024
_OUTGOING_LIMIT = 96 * 1024 * 1024
_CHUNK = 256 * 1024


class Connection:
    """One accepted stream, a stranger's until it proves the key."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.reader = Reader(MAX_HELLO)
        self.nonce = os.urandom(16).hex()
        self.since = self.heard = self.beaten = time.monotonic()
        self.incoming: frames.Seal | None = None
        self.outgoing: frames.Seal | None = None
        self.buffer = bytearray()
        self.closing = False
        self.watched: set[int] = set()  # calls whose output it wants to see

    @property
    def proven(self) -> bool:
        """Whether it holds the key."""
        return self.outgoing is not None


class Daemon:
    """The protocol's server."""

    def __init__(self, options: Options, name: str, lifeline: bool) -> None:
        self._boot = os.urandom(16).hex()
        self._began = time.monotonic()
        self._key: bytes | None = None
        self._epoch = 0
        self._events = Events()
        self._ledger = Ledger()
        self._work = options.work
        self._keeper = Keeper(options, self._events, self._answer, self._show)
        self._connections: set[Connection] = set()
        self._controller: Connection | None = None
        self._stopping = False
        self._signals = linux.SignalQueue(
            {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP}
        )
        self._events.on_readable(self._signals, self._hear_signals)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind("\0" + name)
        self._listener.listen(64)
        self._listener.setblocking(False)
        self._events.on_readable(self._listener, self._accept)
        if lifeline:
            os.set_blocking(0, False)
            self._events.on_readable(0, self._hear_lifeline)

    def serve(self) -> None:
        """Until it is told to stop, and the session has ended."""
        print("cataloger_sandbox: listening", file=sys.stderr, flush=True)
        while not (self._stopping and self._keeper.stopped):
            now = time.monotonic()
            deadline = min(self._keeper.next_deadline(), now + 1.0)
            self._events.wait(deadline - now)
            self._keeper.tick()
            self._look_after_connections()
        self._say_goodbye()

    # Signals, and the lifeline.

    def _hear_signals(self) -> None:
        for number, sender in self._signals.read():
            if number == signal.SIGCHLD:
                self._reap()
            elif self._is_outside(sender):  # code may signal us, but not stop us
                self._stop()

    @staticmethod
    def _is_outside(pid: int) -> bool:
        """Whether a process surely is none of the session's.

        Who has ended, or has an ancestor that ended meanwhile, may have been the session's.
        """
        known = linux.parents()
        while pid != 0:  # 0: from outside of our PID namespace
            if pid == os.getpid() or pid not in known:
                return False
            pid = known[pid]
        return True

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._keeper.child_ended(pid, status)

    def _hear_lifeline(self) -> None:
        try:
            data = os.read(0, 4096)
        except BlockingIOError:
            return
        if not data:
            self._events.forget(0)
            self._stop()

    def _stop(self) -> None:
        self._stopping = True
        self._keeper.stop()

    def _say_goodbye(self) -> None:
        if self._controller is not None:
            self._send(self._controller, {"type": "bye"})
        deadline = time.monotonic() + 1.0
        while self._controller is not None and self._controller.buffer:
            if time.monotonic() > deadline:
                return
            self._events.wait(0.05)

    # Connections.

    def _accept(self) -> None:
        try:
            stream, _ = self._listener.accept()
        except OSError:
            return
        pid, uid = linux.peer(stream)
        if uid not in (0, os.getuid()) or not self._is_outside(pid):
            stream.close()
            return
        stream.setblocking(False)
        connection = Connection(stream)
        self._connections.add(connection)
        self._events.on_readable(stream, lambda: self._hear(connection))
        strangers = [c for c in self._connections if not c.proven]
        if len(strangers) > MAX_STRANGERS:
            self._drop(min(strangers, key=lambda c: c.since))
        self._send(
            connection,
            {
                "type": "welcome",
                "protocols": [PROTOCOL],
                "boot": self._boot,
                "nonce": connection.nonce,
                "claimed": self._key is not None,
            },
        )

    def _look_after_connections(self) -> None:
        now = time.monotonic()
        for connection in list(self._connections):
            if connection.closing:
                if not connection.buffer or now > connection.heard + DEAD_SECONDS:
                    self._drop(connection)
            elif not connection.proven:
                if now > connection.since + HELLO_SECONDS:
                    self._refuse(connection, "late", f"no hello within {HELLO_SECONDS:.0f} s")
            elif now > connection.heard + DEAD_SECONDS:
                self._drop(connection)
            elif now > connection.beaten + BEAT_SECONDS:
                connection.beaten = now
                self._send(connection, {"type": "beat"})

    def _drop(self, connection: Connection) -> None:
        self._events.forget(connection.stream)
        connection.stream.close()
        connection.buffer.clear()
        self._connections.discard(connection)
        if self._controller is connection:
            self._controller = None

    def _send(self, connection: Connection, message: dict) -> None:
        self._send_body(connection, encode(message))

    def _send_body(self, connection: Connection, body: bytes) -> None:
        if connection not in self._connections or connection.closing:
            return
        payload = connection.outgoing.close(body) if connection.outgoing else body
        connection.buffer += frame(payload)
        if len(connection.buffer) > _OUTGOING_LIMIT:
            self._drop(connection)
        else:
            self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        try:
            while connection.buffer:
                sent = connection.stream.send(memoryview(connection.buffer)[:_CHUNK])
                del connection.buffer[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(connection)
            return
        waiting = (lambda: self._flush(connection)) if connection.buffer else None
        self._events.also_writable(connection.stream, waiting)

    def _close(self, connection: Connection) -> None:
        """Close once what was said has left."""
        connection.closing = True
        if self._controller is connection:
            self._controller = None
        if not connection.buffer:
            self._drop(connection)

    def _refuse(self, connection: Connection, code: str, message: str, **more) -> None:
        self._send(connection, {"type": "refused", "code": code, "message": message} | more)
        self._close(connection)

    def _hear(self, connection: Connection) -> None:
        try:
            data = connection.stream.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return
        if connection.closing:
            return
        connection.heard = time.monotonic()
        connection.reader.feed(data)
        try:
            while (
                connection in self._connections
                and not connection.closing
                and (payload := connection.reader.next()) is not None
            ):
                if connection.incoming is None:
                    self._greet(connection, decode(payload))
                else:
                    body = connection.incoming.open(payload)
                    self._heed(connection, decode(body))
        except (FrameError, RecursionError) as error:  # nested as deep as can just be read
            if connection.proven:
                self._complain(connection, "frame", str(error))
                self._close(connection)
            else:
                self._refuse(connection, "frame", str(error))

    # The handshake.

    def _greet(self, connection: Connection, hello: dict) -> None:
        try:
            if hello["type"] != "hello":
                raise ValueError(f"a connection begins with hello, not {hello['type']}")
            protocol, epoch = checks.integer(hello, "protocol"), checks.integer(hello, "epoch")
            nonce, proof = checks.nonce(hello, "nonce"), checks.text(hello, "proof", 128)
            claim = hello.get("claim")
            offered = checks.key(claim) if claim is not None else None
            env = checks.environment(claim) if claim is not None else {}
        except ValueError as error:
            self._refuse(connection, "frame", str(error))
            return
        if protocol != PROTOCOL:
            self._refuse(
                connection, "protocol", f"version {protocol} is not spoken here, {PROTOCOL} is"
            )
            return
        if self._key is not None and offered is not None:
            self._refuse(connection, "claimed", "this sandbox has a key already")
            return
        key = self._key or offered
        if key is None:
            self._refuse(connection, "unclaimed", "this sandbox has no key yet: send a claim")
            return
        bound_to = frames.transcript(self._boot, connection.nonce, nonce, epoch)
        if not frames.same(frames.proof(key, bound_to), proof):
            self._refuse(connection, "proof", "the proof is wrong: it was made with another key")
            return
        if epoch < self._epoch:
            self._refuse(
                connection,
                "epoch",
                f"a controller of epoch {self._epoch} has taken over",
                epoch=self._epoch,
            )
            return
        self._welcome(connection, key, epoch, bound_to, env)

    def _welcome(
        self, connection: Connection, key: bytes, epoch: int, bound_to: str, env: dict[str, str]
    ) -> None:
        claiming = self._key is None
        self._key = key
        self._epoch = epoch
        former, self._controller = self._controller, connection
        if former is not None:
            self._complain(former, "superseded", f"epoch {epoch} has connected", epoch=epoch)
            self._close(former)
            self._controller = connection
        connection.incoming, connection.outgoing = frames.seals(key, bound_to)
        connection.reader.limit = frames.MAX_FRAME
        if claiming:
            self._keeper.open(env)
        self._send(
            connection,
            {
                "type": "ready",
                "epoch": epoch,
                "last": self._ledger.last,
                "running": self._ledger.running,
                "kept": self._ledger.kept,
                "generation": self._keeper.generation,
                "beat_ms": int(BEAT_SECONDS * 1000),
            },
        )

    def _complain(self, connection: Connection, code: str, message: str, **more) -> None:
        self._send(connection, {"type": "error", "code": code, "message": message} | more)

    # What a controller asks.

    def _heed(self, connection: Connection, message: dict) -> None:
        kind = message["type"]
        try:
            if kind in ("execute", "reset", "put_file"):
                self._call(connection, message)
            elif kind == "ack":
                self._ledger.acknowledge(checks.integer(message, "through"))
            elif kind == "interrupt":
                self._keeper.interrupt(checks.integer(message, "id"))
            elif kind == "status":
                self._send(connection, self._status())
            elif kind == "shutdown":
                self._stop()
            elif kind != "beat":
                self._complain(connection, "unknown", f"there is no {kind[:100]!r}")
        except ValueError as error:
            self._complain(connection, "invalid", f"{kind}: {error}")

    def _status(self) -> dict:
        return {
            "type": "status",
            "boot": self._boot,
            "uptime_ms": int((time.monotonic() - self._began) * 1000),
            "running": self._ledger.running,
            "last": self._ledger.last,
            "kept": self._ledger.kept,
            "daemon_bytes": linux.resident_bytes(),
        } | self._keeper.status()

    def _call(self, connection: Connection, message: dict) -> None:
        number = checks.integer(message, "id", least=1)
        try:
            try:
                work = self._check(message)
            except ValueError as error:
                raise Refusal("invalid", f"{message['type']}: {error}") from None
            content = json.dumps(message, sort_keys=True).encode()
            fresh = number > self._ledger.last
            answer = self._ledger.admit(number, content)
        except Refusal as refusal:
            self._send(
                connection,
                {"type": "refusal", "id": number, "code": refusal.code, "message": str(refusal)}
                | refusal.more,
            )
            return
        if answer is not None:
            self._send_body(connection, answer)
            return
        if message["type"] == "execute":
            connection.watched.add(number)
            if not fresh and (text := self._keeper.streamed(number)):
                self._show_to(connection, number, 0, text)
        if fresh:
            work()

    def _check(self, message: dict):
        """What to do for a call; refuses what can't be done before its id is spent."""
        if message["type"] == "execute":
            call = checks.execute(message)
            return lambda: self._keeper.execute(call)
        if message["type"] == "reset":
            env = checks.environment(message)
            return lambda: self._keeper.reset(env)
        path, data, append = checks.put_file(message)
        return lambda: self._put_file(path, data, append=append)

    def _put_file(self, path: list[str], data: bytes, *, append: bool) -> None:
        answer = {"type": "result", "ok": True, "status": "ok", "detail": None, "size": 0}
        try:
            answer["size"] = files.write_below(self._work, path, data, append=append)
        except OSError as error:
            detail = f"{'/'.join(path)}: {error.strerror}"
            answer |= {"ok": False, "status": "failed", "detail": detail}
        self._answer(answer)

    def _answer(self, result: dict) -> None:
        """The running call has ended."""
        number = self._ledger.running
        if number is None:
            return
        if self._stopping and result.get("state") == "lost":
            return  # it did not end by itself: whoever waits learns from our end
        encoded = encode(result | {"id": number})
        self._ledger.answer(number, encoded)
        if self._controller is not None:
            self._controller.watched.discard(number)
            self._send_body(self._controller, encoded)

    def _show(self, call: int, offset: int, text: str) -> None:
        if self._controller is not None and call in self._controller.watched:
            self._show_to(self._controller, call, offset, text)

    def _show_to(self, connection: Connection, call: int, offset: int, text: str) -> None:
        if len(connection.buffer) < _WATCHING_LIMIT:
            self._send(connection, {"type": "output", "id": call, "offset": offset, "data": text})


def _rlimit(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    return name, int(value)


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cataloger_sandbox daemon", description=__doc__)
    parser.add_argument("--socket", default=DEFAULT_SOCKET, help="name of the abstract socket")
    parser.add_argument("--work", default="/work", help="the session's directory and HOME")
    parser.add_argument("--tmp", default="/tmp", help="TMPDIR")  # noqa: S108
    parser.add_argument("--writable", action="append", default=[], help="also emptied by reset")
    parser.add_argument("--memory-limit", type=int, default=0, help="bytes; 0: the cgroup's")
    parser.add_argument("--process-limit", type=int, default=256)
    parser.add_argument("--rlimit", action="append", type=_rlimit, default=[("core", 0)])
    parser.add_argument("--preload", default=",".join(DEFAULT_MODULES))
    parser.add_argument("--exit-with-stdin", action="store_true")
    parser.add_argument("--own-uid", action="store_true", help="nobody else has this uid")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run as a process: ``daemon [OPTIONS]``."""
    parsed = _arguments(arguments)
    linux.set_dumpable(False)
    linux.become_subreaper()
    alone = os.getpid() == 1  # a container of our own
    options = Options(
        work=parsed.work,
        tmp=parsed.tmp,
        writable=parsed.writable + (sweep.writable_mounts() if alone else []),
        preload=[name for name in parsed.preload.split(",") if name],
        rlimits=dict(parsed.rlimit),
        memory_limit=parsed.memory_limit,
        process_limit=parsed.process_limit,
        own_uid=parsed.own_uid or alone,
    )
    try:
        Daemon(options, parsed.socket, parsed.exit_with_stdin).serve()
    except Unclearable as error:
        print(f"cataloger_sandbox: {error}", file=sys.stderr)
        return 70
    return 0
