"""The thin client: bytes both ways, and when it leaves."""

import os
import socket
import subprocess
import sys
import threading

import pytest

from cataloger_sandbox import frames
from cataloger_sandbox.frames import Reader
from client import KEY, SOMEBODY, SOURCE, Controller

MEGABYTE = bytes(range(256)) * 4096


class Server:
    """In the daemon's place: a socket that does what the test says."""

    def __init__(self) -> None:
        self.name = f"cataloger-test-{os.urandom(8).hex()}"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind("\0" + self.name)
        self.listener.listen()
        self.listener.settimeout(20)

    def accept(self) -> socket.socket:
        stream, _ = self.listener.accept()
        stream.settimeout(20)
        return stream


@pytest.fixture
def server():
    one = Server()
    yield one
    one.listener.close()


@pytest.fixture
def client():
    """Starts thin clients, and ends them."""
    started = []

    def start(name: str, stdin: int = subprocess.PIPE, program=(str(SOURCE),)) -> subprocess.Popen:
        started.append(
            subprocess.Popen(
                [sys.executable, "-I", "-S", *program, "connect", "--socket", name],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                **SOMEBODY,
            )
        )
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.wait(20)
        for stream in (one.stdin, one.stdout, one.stderr):
            if stream is not None:
                stream.close()


def _read(stream, size: int) -> bytes:
    """So many bytes, or all there are."""
    receive = stream.recv if isinstance(stream, socket.socket) else stream.read
    data = bytearray()
    while len(data) < size and (piece := receive(size - len(data))):
        data += piece
    return bytes(data)


def _in_background(action, *arguments) -> threading.Thread:
    thread = threading.Thread(target=action, args=arguments, daemon=True)
    thread.start()
    return thread


def _write(stream, data: bytes) -> None:
    write = stream.send if isinstance(stream, socket.socket) else stream.write
    view = memoryview(data)
    while view:
        view = view[write(view) :]


def test_joins_both_ways(server, client):
    process = client(server.name)
    stream = server.accept()
    _write(process.stdin, b"to the daemon")
    assert _read(stream, 13) == b"to the daemon"
    _write(stream, b"\0\xffback")
    assert _read(process.stdout, 6) == b"\0\xffback"


def test_a_megabyte_each_way_at_once(server, client):
    """Nobody reads before much more was written than any buffer between holds."""
    process = client(server.name)
    stream = server.accept()
    writers = [
        _in_background(_write, process.stdin, MEGABYTE),
        _in_background(_write, stream, MEGABYTE[::-1]),
    ]
    for writer in writers:
        writer.join(0.05)
        assert writer.is_alive()
    # One side first: a way that is stuck does not hold the other.
    assert _read(process.stdout, len(MEGABYTE)) == MEGABYTE[::-1]
    assert _read(stream, len(MEGABYTE)) == MEGABYTE
    for writer in writers:
        writer.join(20)
    assert process.poll() is None


def test_slow_readers(server, client):
    process = client(server.name)
    stream = server.accept()
    _in_background(_write, process.stdin, MEGABYTE)
    _in_background(_write, stream, MEGABYTE)
    there, here = bytearray(), bytearray()
    while len(there) < len(MEGABYTE) or len(here) < len(MEGABYTE):
        there += (
            stream.recv(min(7777, len(MEGABYTE) - len(there)) or 1)
            if (len(there) < len(MEGABYTE))
            else b""
        )
        here += process.stdout.read(4097) if len(here) < len(MEGABYTE) else b""
    assert bytes(there) == bytes(here) == MEGABYTE


def test_leaves_when_stdin_ends(server, client):
    """And hands on all that came before."""
    process = client(server.name)
    stream = server.accept()
    writer = _in_background(_write, process.stdin, MEGABYTE)
    assert _read(stream, len(MEGABYTE)) == MEGABYTE
    writer.join(20)
    process.stdin.close()
    assert process.wait(20) == 0
    assert stream.recv(1) == b""
    assert process.stderr.read() == b""


def test_leaves_when_stdin_ends_at_once(server, client):
    """A controller that forgot to open a stdin has closed it."""
    process = client(server.name, stdin=subprocess.DEVNULL)
    assert process.wait(20) == 0
    assert process.stderr.read() == b""


def test_leaves_when_the_daemon_closes(server, client):
    """And hands on the last words, however many."""
    process = client(server.name)
    stream = server.accept()
    writer = _in_background(_write, stream, MEGABYTE)
    assert _read(process.stdout, len(MEGABYTE)) == MEGABYTE
    writer.join(20)
    stream.close()
    assert process.stdout.read() == b""
    assert process.wait(20) == 0


def test_last_words_come_though_the_daemon_reads_no_more(server, client):
    """As after a frame that it can't read: it says why and closes, with input unread."""
    process = client(server.name)
    stream = server.accept()
    words = MEGABYTE[:100_000]
    _write(stream, words[:1000])
    assert _read(process.stdout, 1000) == words[:1000]
    process.send_signal(19)  # SIGSTOP: so that both of these come at once
    _write(process.stdin, bytes(5000))
    _write(stream, words[1000:])
    stream.close()
    process.send_signal(18)
    assert _read(process.stdout, len(words)) == words[1000:]
    assert process.wait(20) == 0


def test_leaves_when_nobody_reads_its_stdout(server, client):
    process = client(server.name)
    stream = server.accept()
    process.stdout.close()
    _write(stream, b"x")
    assert process.wait(20) == 0


def test_no_daemon(client):
    process = client("cataloger-test-nobody")
    assert process.wait(20) == 3
    said = process.stderr.read().decode()
    assert said == ("cataloger_sandbox: no daemon at cataloger-test-nobody: Connection refused\n")


@pytest.mark.parametrize("arguments", [["--socket"], ["x"], ["--socket", "a", "b"]])
def test_usage(arguments):
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(SOURCE), "connect", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, b"usage: connect" in done.stderr) == (2, True)


def test_leaves_when_the_controller_falls_silent(server, client):
    """Also while the daemon goes on speaking."""
    impatient = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from cataloger_sandbox import connect; connect.SILENCE_SECONDS = 0.5\n"
        "sys.exit(connect.main(sys.argv[3:]))"
    )
    process = client(server.name, program=("-c", impatient, str(SOURCE)))
    stream = server.accept()
    _write(process.stdin, b"hello")
    assert _read(stream, 5) == b"hello"
    stop = threading.Event()

    def speak() -> None:
        while not stop.wait(0.01):
            try:
                stream.send(b"x")
            except OSError:
                return

    speaker = _in_background(speak)
    try:
        assert process.wait(20) == 4
    finally:
        stop.set()
        speaker.join(20)
    assert process.stderr.read() == b"cataloger_sandbox: the controller fell silent\n"


class Through(Controller):
    """A controller at the far end of a thin client."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process
        self.stream = self
        self.reader = Reader()
        self.incoming = self.outgoing = None
        self.outputs = {}
        self.welcome = self.receive()

    def recv(self, _most: int) -> bytes:
        return self.process.stdout.read(4096)

    def sendall(self, data: bytes) -> None:
        _write(self.process.stdin, data)

    def close(self) -> None:
        self.process.stdin.close()


def test_the_protocol_through_it(daemon, client):
    daemon.run("kept = 1")
    controller = Through(client(daemon.name))
    assert controller.hello(key=KEY)["type"] == "ready"
    (error,) = daemon.controller.last_words()
    assert error["code"] == "superseded"
    code = "# " + "x" * 1_000_000 + "\nprint('y' * 900_000); kept"
    answer = controller.execute(2, code, output_limit=2**20)
    assert answer["output"] == "y" * 900_000 + "\n1\n"
    # Its death costs a reconnect.
    controller.process.kill()
    again = Through(client(daemon.name))
    assert again.hello(epoch=2)["kept"] == [2]
    again.sendall(frames.frame(b"garbage"))
    (error,) = again.last_words()
    assert error["code"] == "frame"
    assert again.process.wait(20) == 0
