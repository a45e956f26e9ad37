"""A controller in Python, for the tests of the daemon: the protocol once more, and simple."""

import ast
import errno
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
# As root, processes could be traced whatever they do: the sandbox's are somebody else's.
OTHER_UID = 64999
SOMEBODY = {"user": OTHER_UID, "group": OTHER_UID, "extra_groups": []} if os.getuid() == 0 else {}
_PATCHED = """
import sys
sys.modules["_hashlib"] = None
sys.path.insert(0, sys.argv[1])
from cataloger_sandbox import daemon
vars(daemon).update({constants})
sys.exit(daemon.main(sys.argv[2:]))
"""


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
        self.payload = payload
        return frames.decode(self.incoming.open(payload) if self.incoming else payload)

    def send(self, message: dict) -> None:
        """Send a frame, sealed once the handshake is done."""
        body = frames.encode(message)
        self.send_payload(self.outgoing.close(body) if self.outgoing else body)

    def next_of(self, *kinds: str) -> dict:
        """The next frame of one of these types."""
        while (message := self.receive())["type"] not in kinds:
            pass
        return message

    def last_words(self) -> list[dict]:
        """All that comes until the daemon closes; beats are left out."""
        words = []
        try:
            while True:
                if (message := self.receive())["type"] != "beat":
                    words.append(message)
        except (Closed, ConnectionResetError):
            return words

    def send_payload(self, payload: bytes) -> None:
        self.stream.sendall(frames.frame(payload))

    def hello(
        self,
        epoch: int = 1,
        key: bytes = KEY,
        claim: bool = False,
        env: dict | None = None,
        instead: dict | None = None,
    ) -> dict:
        """Shake hands, perhaps with some members wrong; the daemon's answer."""
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
        self.send(message | (instead or {}))
        seals = frames.seals(key, bound_to)
        while (payload := self.reader.next()) is None:
            self._read()
        outgoing, incoming = seals
        try:
            answer = frames.decode(incoming.open(payload))
        except frames.FrameError:
            return frames.decode(payload)  # refused: a tag may begin with "{" too
        self.outgoing, self.incoming = outgoing, incoming
        return answer

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
    """A daemon in a process of its own, and a controller that has claimed it.

    ``constants`` replaces numbers of the daemon's module, for what would take long to wait for.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        claim: bool = True,
        env: dict | None = None,
        constants: dict | None = None,
    ) -> None:
        self.name = f"cataloger-test-{os.urandom(8).hex()}"
        self.work = make_directory(directory / "work")
        self.tmp = make_directory(directory / "tmp")
        program = [str(SOURCE), "daemon"]
        if constants:
            program = ["-c", _PATCHED.format(constants=constants), str(SOURCE)]
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", *program),
                *("--socket", self.name),
                *("--work", str(self.work)),
                *("--tmp", str(self.tmp)),
                "--exit-with-stdin",
                *arguments,
            ],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **SOMEBODY,
        )
        self._stderr = self.process.stderr.readline()
        self._closed = False
        if self._stderr != b"cataloger_sandbox: listening\n":
            raise AssertionError(self._stderr + self.process.stderr.read())
        self.number = 0
        self.controller = self.connect()
        if claim:
            ready = self.controller.hello(claim=True, env=env)
            assert ready["type"] == "ready", ready

    def connect(self) -> Controller:
        """A stranger's connection."""
        return Controller(self.name)

    def reconnect(self, **hello) -> dict:
        """A new connection in place of the controller; what the daemon says of itself."""
        self.controller.close()
        self.controller = self.connect()
        ready = self.controller.hello(**hello)
        assert ready["type"] == "ready", ready
        return ready

    def run(self, code: str, **more) -> dict:
        """Execute code as the next call, and acknowledge its answer."""
        self.number += 1
        answer = self.controller.execute(self.number, code, **more)
        self.controller.send({"type": "ack", "through": self.number})
        return answer

    def value(self, code: str):
        """What code evaluates to, by way of its repr."""
        answer = self.run(code)
        assert answer["status"] == "ok", answer
        return ast.literal_eval(answer["output"] or "None")

    def call(self, **message) -> dict:
        """Any other call."""
        self.number += 1
        self.controller.send(message | {"id": self.number})
        answer = self.controller.answer_to(self.number)
        self.controller.send({"type": "ack", "through": self.number})
        return answer

    def status(self) -> dict:
        self.controller.send({"type": "status"})
        return self.controller.next_of("status")

    def close(self) -> str:
        """End it; what it wrote to stderr."""
        if not self._closed:
            self._closed = True
            self.process.stdin.close()
            try:
                self.process.wait(20)
            finally:
                self.process.kill()
            with self.process.stderr as stderr:
                self._stderr += stderr.read()
            self.controller.close()
        return self._stderr.decode()


class Gate:
    """Holds code in a session until the test lets it go; also tells that it has come so far."""

    def __init__(self, daemon: Daemon) -> None:
        self._path = daemon.work / f"gate-{os.urandom(4).hex()}"
        os.mkfifo(self._path)
        self._path.chmod(0o666)
        self.code = f"open({str(self._path)!r}).read()"
        self._writer = -1

    def wait(self) -> None:
        """Until the code is there."""

        def arrived() -> bool:
            try:
                self._writer = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                return False
            return True

        if self._writer < 0:
            wait_for(arrived)

    def open(self) -> None:
        """Let the code go on."""
        self.wait()
        os.close(self._writer)


def make_directory(path: Path) -> Path:
    """A directory that belongs to whoever the sandbox's processes are."""
    path.mkdir()
    path.chmod(0o755)
    if SOMEBODY:
        os.chown(path, OTHER_UID, OTHER_UID)
    return path


def run_as_somebody(code: str, *arguments: str, seconds: float = DEADLINE_SECONDS) -> str:
    """Run Python code with our package as the sandbox's user; its output."""
    done = subprocess.run(
        [
            *(sys.executable, "-I", "-c"),
            f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n{code}",
            *arguments,
        ],
        stdout=subprocess.PIPE,
        timeout=seconds,
        check=True,
        cwd="/",
        **SOMEBODY,
    )
    return done.stdout.decode()


def wait_for(condition, seconds: float = DEADLINE_SECONDS):
    """Poll until a condition holds; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)
    return value
