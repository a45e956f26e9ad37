"""A call's id is run at most once, and its answer waits."""

import json
import os
import signal
from pathlib import Path

import pytest

from client import Daemon, Gate, make_directory, wait_for


def _answers(controller, count: int) -> list[dict]:
    return [controller.next_of("result", "refusal") for _ in range(count)]


def test_the_same_id_twice(daemon):
    daemon.controller.execute(1, "count = 0")
    first = daemon.controller.execute(2, "count += 1; print(count)")
    second = daemon.controller.execute(2, "count += 1; print(count)")
    assert first == second
    assert first["output"] == "1\n"
    assert daemon.controller.execute(3, "count")["output"] == "1\n"
    # In any order of its members, from another connection, of another epoch.
    daemon.reconnect(epoch=9)
    body = json.dumps(
        {
            "output_limit": 65536,
            "max_rows": 20,
            "grace_ms": 500,
            "timeout_ms": 20_000,
            "code": "count += 1; print(count)",
            "id": 2,
            "type": "execute",
        }
    )
    daemon.controller.send_payload(daemon.controller.outgoing.close(body.encode()))
    assert daemon.controller.answer_to(2) == first
    assert daemon.reconnect(epoch=9)["kept"] == [1, 2, 3]


def test_the_same_id_while_it_runs(daemon):
    gate = Gate(daemon)
    code = f"print('before'); {gate.code}; print('after')"
    for _ in range(3):
        daemon.controller.start(1, code)
    gate.wait()
    daemon.controller.start(1, code)
    gate.open()
    assert daemon.controller.answer_to(1)["output"] == "before\nafter\n"
    assert daemon.controller.execute(2, "'once'")["output"] == "'once'\n"


def test_the_same_id_after_a_reconnect(daemon):
    gate = Gate(daemon)
    code = f"print('before'); {gate.code}; print('after')"
    daemon.controller.start(1, code)
    while "before" not in daemon.controller.outputs.get(1, ""):
        output = daemon.controller.next_of("output")
        daemon.controller.outputs[1] = output["data"]
    gate.wait()
    ready = daemon.reconnect()
    assert (ready["running"], ready["last"], ready["kept"]) == (1, 1, [])
    daemon.controller.start(1, code)
    output = daemon.controller.next_of("output")
    assert (output["offset"], output["data"]) == (0, "before\n")
    daemon.controller.outputs[1] = output["data"]
    gate.open()
    assert daemon.controller.answer_to(1)["output"] == "before\nafter\n"
    assert daemon.controller.outputs[1] in ("before\n", "before\nafter\n")


def test_an_answer_waits_for_who_comes(daemon):
    gate = Gate(daemon)
    daemon.controller.start(1, f"{gate.code}; print('after')")
    gate.wait()
    daemon.controller.close()
    gate.open()
    daemon.reconnect()
    answer = daemon.controller.execute(1, f"{gate.code}; print('after')")
    assert answer["output"] == "after\n"


def test_output_as_it_comes(daemon):
    """What is streamed is the beginning of the result, whatever is written."""
    for number, code in enumerate(
        (
            "import sys\nfor n in range(300): print('é€🐍' * 100)",
            "import os\nfor n in range(2000): sys.stdout.buffer.write(os.urandom(37))",
            "sys.stdout.buffer.write(b'\\xf0\\x9f'); sys.stdout.flush(); print('x')",
            "print('\\ud800')",
        ),
        start=1,
    ):
        answer = daemon.controller.execute(number, code, output_limit=4096)
        assert answer["ok"]
        # Perhaps nothing came before the result, but nothing else.
        assert answer["output"].startswith(daemon.controller.outputs.get(number, ""))


def test_conflict(daemon):
    daemon.controller.execute(1, "x = 1")
    refusal = daemon.controller.execute(1, "x = 2")
    assert (refusal["type"], refusal["code"]) == ("refusal", "conflict")
    for other in (
        {"type": "reset", "id": 1, "env": {}},
        {"type": "put_file", "id": 1, "path": "a", "data": ""},
    ):
        daemon.controller.send(other)
        assert daemon.controller.answer_to(1)["code"] == "conflict"
    gate = Gate(daemon)
    daemon.controller.start(2, gate.code)
    assert daemon.controller.execute(2, "x = 3")["code"] == "conflict"
    gate.open()
    assert daemon.controller.answer_to(2)["ok"]
    assert daemon.controller.execute(3, "x")["output"] == "1\n"


def test_forgotten(daemon):
    daemon.controller.execute(5, "x = 1")
    assert daemon.controller.execute(3, "x = 2")["code"] == "forgotten"  # never used, but lower
    daemon.controller.send({"type": "ack", "through": 5})
    for code in ("x = 1", "x = 2"):
        refusal = daemon.controller.execute(5, code)
        assert (refusal["type"], refusal["code"]) == ("refusal", "forgotten")
    assert daemon.controller.execute(6, "x")["output"] == "1\n"
    assert daemon.reconnect()["kept"] == [6]


def test_acknowledging_what_runs_or_never_was(daemon):
    gate = Gate(daemon)
    daemon.controller.start(1, f"{gate.code}; 'answer'")
    daemon.controller.send({"type": "ack", "through": 2**53 - 1})
    gate.open()
    assert "'answer'" in daemon.controller.answer_to(1)["output"]
    assert daemon.reconnect()["kept"] == [1]


def test_full(daemon):
    for number in range(1, 17):
        assert daemon.controller.execute(number, "1")["ok"]
    for _ in range(2):
        refusal = daemon.controller.execute(17, "1")
        assert (refusal["type"], refusal["code"]) == ("refusal", "full")
    assert daemon.reconnect()["last"] == 16
    assert daemon.controller.execute(1, "1")["ok"]  # answers are still given
    daemon.controller.send({"type": "ack", "through": 1})
    assert daemon.controller.execute(17, "1")["ok"]


def test_busy(daemon):
    gate = Gate(daemon)
    daemon.controller.start(7, gate.code)
    for message in (
        {"type": "reset", "env": {}},
        {"type": "put_file", "path": "a", "data": "", "append": False},
    ):
        daemon.controller.send(message | {"id": 8})
        refusal = daemon.controller.answer_to(8)
        assert (refusal["type"], refusal["code"], refusal["running"]) == ("refusal", "busy", 7)
    assert daemon.controller.execute(8, "1")["code"] == "busy"
    assert daemon.status()["running"] == 7
    gate.open()
    assert daemon.controller.answer_to(7)["ok"]
    assert daemon.controller.execute(8, "'run'")["output"] == "'run'\n"


def test_ids_may_leap(daemon):
    for number in (1, 1000, 2**53 - 1):
        assert daemon.controller.execute(number, str(number))["output"] == f"{number}\n"
    assert daemon.status()["last"] == 2**53 - 1
    assert daemon.controller.execute(2**52, "1")["code"] == "forgotten"


def test_put_file(daemon):
    answer = daemon.call(type="put_file", path="a/b.txt", data="aGVsbG8=", append=False)
    assert {"ok": True, "status": "ok", "detail": None, "size": 5}.items() <= answer.items()
    assert daemon.call(type="put_file", path="a/b.txt", data="IQ==", append=True)["size"] == 6
    assert daemon.value("open('a/b.txt').read()") == "hello!"
    daemon.run("import os; os.symlink('/etc', 'link'); os.mkfifo('fifo')")
    for path in ("link/x", "fifo/x", "a", "n" * 300):
        answer = daemon.call(type="put_file", path=path, data="aGVsbG8=")
        assert (answer["ok"], answer["status"]) == (False, "failed")
        assert path in answer["detail"]


def test_interrupt_of_another_call_does_nothing(daemon):
    gate = Gate(daemon)
    daemon.controller.start(3, gate.code)
    gate.wait()
    for number in (2, 4):
        daemon.controller.send({"type": "interrupt", "id": number})
    gate.open()
    assert daemon.controller.answer_to(3)["status"] == "ok"


def test_interrupt(daemon):
    daemon.run("kept = 1")
    gate = Gate(daemon)
    daemon.controller.start(2, gate.code)
    gate.wait()
    daemon.controller.send({"type": "interrupt", "id": 2})
    answer = daemon.controller.answer_to(2)
    assert (answer["status"], answer["ok"], answer["state"]) == ("interrupted", False, "kept")
    assert "KeyboardInterrupt" in answer["output"]
    assert daemon.controller.execute(3, "kept")["output"] == "1\n"


def test_a_call_that_the_end_cuts_off_has_no_answer(daemon):
    gate = Gate(daemon)
    daemon.controller.start(1, gate.code)
    gate.wait()
    daemon.process.terminate()
    said = [it["type"] for it in daemon.controller.last_words()]
    assert [it for it in said if it != "output"] == ["bye"]
    assert daemon.process.wait(20) == 0


def test_shutdown(start):
    daemon = start()
    daemon.run("import os, signal\nif os.fork() == 0:\n    os.setsid(); signal.pause()")
    daemon.controller.send({"type": "shutdown"})
    assert daemon.controller.last_words() == [{"type": "bye"}]
    assert daemon.process.wait(20) == 0


def test_reset(daemon):
    daemon.run("x = 1; import os; os.makedirs('a/b'); open('file', 'w').close(); os.chmod('.', 0)")
    answer = daemon.call(type="reset", env={"A": "b"})
    assert answer["ok"], answer
    assert daemon.run("x")["error"]["name"] == "NameError"
    assert daemon.value("__import__('os').listdir('.')") == []
    assert daemon.value("__import__('os').environ['A']") == "b"
    daemon.call(type="reset", env={})
    assert daemon.value("__import__('os').environ.get('A')") is None


@pytest.mark.usefixtures("as_root")
def test_reset_that_can_not_empty_a_directory(daemon):
    (daemon.work / "theirs").mkdir()
    (daemon.work / "theirs" / "file").touch()
    answer = daemon.call(type="reset", env={})
    assert (answer["ok"], answer["status"]) == (False, "failed")
    assert "theirs" in answer["detail"]
    (daemon.work / "theirs" / "file").unlink()
    assert daemon.call(type="reset", env={})["ok"]
    assert daemon.run("1 + 1")["output"] == "2\n"


def test_a_session_that_ends_before_a_call_is_not_that_calls_end(daemon):
    code = """
import os, threading
def end():
    while not os.path.exists("end"): pass
    os._exit(9)
threading.Thread(target=end).start()
os.getpid()"""
    session = int(daemon.run(code)["output"])
    # It ends while the daemon can't see it, and the next call waits when it can.
    os.kill(daemon.process.pid, signal.SIGSTOP)
    try:
        (daemon.work / "end").touch()
        wait_for(lambda: ") Z " in Path(f"/proc/{session}/stat").read_text())
        daemon.number += 1
        daemon.controller.start(daemon.number, "'this ran'")
    finally:
        os.kill(daemon.process.pid, signal.SIGCONT)
    answer = daemon.controller.answer_to(daemon.number)
    assert (answer["status"], answer["output"]) == ("ok", "'this ran'\n"), answer
    assert "code 9" in answer["notice"]


def test_sessions_that_end_as_they_start_are_given_up(place):
    # Too few descriptors for its own: it may be gone before the daemon hears that it is there.
    few = Daemon(make_directory(place / "few"), "--preload", "", "--rlimit", "nofile=100")
    try:
        for _ in range(10):
            answer = few.run("1")
            assert (answer["status"], answer["state"]) == ("unavailable", "lost"), answer
            assert "as they started" in answer["detail"]
    finally:
        few.close()
    assert few.process.returncode == 0


def test_a_call_that_waits_for_a_session_can_be_interrupted(daemon):
    assert daemon.run("import os\nos._exit(0)")["status"] == "exited"
    daemon.number += 1
    daemon.controller.start(daemon.number, "while True: pass")
    daemon.controller.send({"type": "interrupt", "id": daemon.number})
    answer = daemon.controller.answer_to(daemon.number)
    assert answer["status"] == "interrupted", answer
    assert answer["state"] == "kept", answer


def test_a_blocked_interrupt_is_of_one_call_only(daemon):
    assert daemon.run("import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [2])")["ok"]
    answer = daemon.run("while True: pass", timeout_ms=100, grace_ms=20_000)
    assert (answer["status"], answer["state"]) == ("timeout", "kept"), answer


def test_an_environment_either_arrives_or_is_refused(daemon):
    assert daemon.call(type="reset", env={"A": "\x01" * 10_000})["ok"]
    assert daemon.value("import os; len(os.environ['A'])") == 10_000
    refused = daemon.call(type="reset", env={"A": "\x01" * 60_000})
    assert (refused["type"], refused["code"]) == ("refusal", "invalid"), refused


def test_why_no_session_can_start_is_told(start):
    daemon = start()
    daemon.run("1")
    moved = daemon.work.rename(daemon.work.with_name("elsewhere"))
    answer = daemon.run("import os; os._exit(1)")
    answer = daemon.run("1")
    assert answer["status"] == "unavailable", answer
    assert "No such file" in answer["detail"], answer
    moved.rename(daemon.work)
    assert daemon.run("2")["output"] == "2\n"
