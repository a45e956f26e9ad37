"""A controller in Python, for the tests of the daemon: the protocol once more, and simple."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from cataloger_sandbox import frames

SOURCE = Path(__file__).parent.parent / "src"
KEY = bytes(range(32))
DEADLINE_SECONDS = 60.0


class Closed(Exception):
    """The daemon has closed the connection."""


class Controller:
    """One connection."""

    def __init__(self, name: str) -> None:
        self.stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.stream.settimeout(3.0)
        self.stream.connect("\0" + name)
        self.reader = frames.Reader()
        self.incoming = self.outgoing = None
        self.outputs: dict[int, str] = {}
        self.welcome = self.receive()

    def _read(self) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            try:
                data = self.stream.recv(1 << 20)
            except TimeoutError:
                assert time.monotonic() < deadline, "the daemon says nothing"
                if self.outgoing:
                    self.send({"type": "beat"})
                continue
            if not data:
                raise Closed
            self.reader.feed(data)
            return

    def receive(self) -> dict:
        """The next frame."""
        while (payload := self.reader.next()) is None:
            self._read()
        return frames.decode(self.incoming.open(payload) if self.incoming else payload)

    def send(self, message: dict) -> None:
        """Send a frame, sealed once the handshake is done."""
        body = frames.encode(message)
        self.send_payload(self.outgoing.close(body) if self.outgoing else body)

    def send_payload(self, payload: bytes) -> None:
        self.stream.sendall(frames.frame(payload))

    def hello(self, epoch: int = 1, key: bytes = KEY, claim: bool = False, env=None) -> dict:
        """Shake hands; the daemon's answer."""
        nonce = os.urandom(16).hex()
        bound_to = frames.transcript(self.welcome["boot"], self.welcome["nonce"], nonce, epoch)
        message = {
            "type": "hello",
            "protocol": 1,
            "epoch": epoch,
            "nonce": nonce,
            "proof": frames.proof(key, bound_to),
        }
        if claim:
            message["claim"] = {"key": key.hex(), "env": env or {}}
        self.send(message)
        seals = frames.seals(key, bound_to)
        while (payload := self.reader.next()) is None:
            self._read()
        if payload[:1] == b"{":
            return frames.decode(payload)
        self.outgoing, self.incoming = seals
        return frames.decode(self.incoming.open(payload))

    def answer_to(self, number: int) -> dict:
        """The result or refusal of a call; output on the way is collected."""
        while True:
            message = self.receive()
            if message["type"] == "output":
                before = self.outputs.setdefault(message["id"], "")
                self.outputs[message["id"]] = before[: message["offset"]] + message["data"]
            elif message["type"] in ("result", "refusal") and message["id"] == number:
                return message
            elif message["type"] == "error":
                raise AssertionError(message)

    def execute(self, number: int, code: str, **more) -> dict:
        """Run a call to its answer."""
        self.start(number, code, **more)
        return self.answer_to(number)

    def start(self, number: int, code: str, **more) -> None:
        """Send a call."""
        self.send(
            {
                "type": "execute",
                "id": number,
                "code": code,
                "timeout_ms": 20_000,
                "grace_ms": 500,
                "max_rows": 20,
                "output_limit": 65536,
            }
            | more
        )

    def close(self) -> None:
        self.stream.close()


class Daemon:
    """A daemon in a process of its own, and a controller that has claimed it."""

    def __init__(self, directory: Path, *arguments: str, claim: bool = True, env=None) -> None:
        self.name = f"cataloger-test-{os.urandom(8).hex()}"
        self.work = directory / "work"
        self.tmp = directory / "tmp"
        self.work.mkdir()
        self.tmp.mkdir()
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                str(SOURCE),
                "daemon",
                "--socket",
                self.name,
                "--work",
                str(self.work),
                "--tmp",
                str(self.tmp),
                "--exit-with-stdin",
                *arguments,
            ],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        line = self.process.stderr.readline()
        assert line == b"cataloger_sandbox: listening\n", line + self.process.stderr.read()
        self.number = 0
        self.controller = self.connect()
        if claim:
            assert self.controller.hello(claim=True, env=env)["type"] == "ready"

    def connect(self) -> Controller:
        return Controller(self.name)

    def run(self, code: str, **more) -> dict:
        """Execute code as the next call, and acknowledge its answer."""
        self.number += 1
        answer = self.controller.execute(self.number, code, **more)
        self.controller.send({"type": "ack", "through": self.number})
        return answer

    def call(self, **message) -> dict:
        """Any other call."""
        self.number += 1
        self.controller.send(message | {"id": self.number})
        answer = self.controller.answer_to(self.number)
        self.controller.send({"type": "ack", "through": self.number})
        return answer

    def status(self) -> dict:
        self.controller.send({"type": "status"})
        while (message := self.controller.receive())["type"] != "status":
            pass
        return message

    def close(self) -> str:
        """End it; what it wrote to stderr."""
        self.process.stdin.close()
        try:
            self.process.wait(DEADLINE_SECONDS)
        finally:
            self.process.kill()
        with self.process.stderr as stderr:
            return stderr.read().decode()


def wait_for(condition, seconds: float = DEADLINE_SECONDS):
    """Poll until a condition holds; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)
    return value
