"""What code in the session can't do to daemon, preloader and thin client."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from client import KEY, SOMEBODY, SOURCE, wait_for

SECRET = "s3cret-pa55word"

# Finds the preloader: a child of the daemon, as the session is one.
_FIND = """
import ctypes, json, os, signal, resource, socket, sys
daemon = os.getppid()
def stat(pid):
    return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
def children(parent):
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and int(stat(name)[1]) == parent:
                found.append(int(name))
        except OSError:
            pass
    return found
def preloader():
    (one,) = [pid for pid in children(daemon)
              if pid != os.getpid() and b"preloader" in open(f"/proc/{pid}/cmdline", "rb").read()]
    return one
"""

_SPY = """
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
def spy(pid):
    open_doors = []
    tasks = os.listdir(f"/proc/{pid}/task")
    for below in ["", *(f"task/{task}/" for task in tasks)]:
        for name in ("mem", "environ", "maps", "smaps", "auxv", "pagemap", "stack", "syscall",
                     "io", "numa_maps", "personality", "smaps_rollup", "patch_state"):
            try:
                open(f"/proc/{pid}/{below}{name}", "rb").read(64)
                open_doors.append(below + name)
            except OSError:
                pass
        for name in ("fd", "fdinfo", "map_files"):
            try:
                os.listdir(f"/proc/{pid}/{below}{name}")
                open_doors.append(below + name)
            except OSError:
                pass
        for name in ("exe", "cwd", "root", "fd/0", "fd/3", "ns/pid"):
            try:
                os.readlink(f"/proc/{pid}/{below}{name}")
                open_doors.append(below + name)
            except OSError:
                pass
        for name in ("mem", "oom_score_adj", "comm", "clear_refs", "coredump_filter"):
            try:
                os.close(os.open(f"/proc/{pid}/{below}{name}", os.O_WRONLY))
                open_doors.append("write " + below + name)
            except OSError:
                pass
    for name, request in (("attach", 16), ("seize", 0x4206)):
        if libc.ptrace(request, pid, None, None) != -1:
            open_doors.append(name)
            libc.ptrace(17, pid, None, None)
    space = ctypes.create_string_buffer(8)
    ours, theirs = Piece(ctypes.addressof(space), 8), Piece(ctypes.addressof(space), 8)
    if libc.process_vm_readv(pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0) != -1 or \\
            ctypes.get_errno() != 1:
        open_doors.append("process_vm_readv")
    handle = os.pidfd_open(pid)
    for number in range(8):
        if libc.syscall(438, handle, number, 0) != -1:
            open_doors.append(f"pidfd_getfd {number}")
    return open_doors
"""


def _start_connect(name: str, **more) -> subprocess.Popen:
    return subprocess.Popen(
        [*(sys.executable, "-I", "-S", str(SOURCE)), "connect", "--socket", name],
        **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **SOMEBODY, **more},
    )


def test_nobody_can_be_looked_into(daemon):
    """Neither daemon, nor preloader, nor a thin client; but a process of its own can."""
    with _start_connect(daemon.name) as connect:
        assert connect.stdout.read(4)  # it has begun
        daemon.run(_FIND + _SPY)
        found = daemon.value(f"[spy(daemon), spy(preloader()), spy({connect.pid})]")
        assert found == [[], [], []]
        own = daemon.value(
            "gate = os.pipe()\npid = os.fork()\n"
            "if pid == 0:\n    os.read(gate[0], 1)\n"
            "doors = spy(pid)\nos.kill(pid, 9)\nos.waitpid(pid, 0)\ndoors"
        )
        assert {"environ", "maps", "fd", "attach", "pidfd_getfd 0"} <= set(own)
        connect.stdin.close()
        assert connect.wait(20) == 0


def test_the_session_holds_nothing_of_the_daemons(daemon):
    daemon.run("import os")
    links = daemon.value(
        "here = '/proc/self/fd/'\n"
        "{n: os.readlink(here + n) for n in os.listdir(here) if os.path.lexists(here + n)}"
    )
    assert {int(number) for number in links if int(number) < 900} <= {0, 1, 2}
    kinds = sorted(link.partition(":")[0] for n, link in links.items() if int(n) >= 900)
    # Its channel, the background's pipe, the call's pipe, and /dev/null.
    assert kinds == ["/dev/null", "pipe", "pipe", "socket"]


_CONNECT = """
import os, signal, socket
def hear(stream):
    stream.settimeout(20)
    try:
        return stream.recv(1000)
    except ConnectionResetError:
        return b""
def connect():
    stream = socket.socket(socket.AF_UNIX)
    stream.connect("\\0" + NAME)
    return stream
"""


def test_code_is_turned_away(daemon):
    daemon.run(_CONNECT.replace("NAME", repr(daemon.name)))
    assert daemon.value("hear(connect())") == b""
    # Also a program, a grandchild that nobody waits for, and one in a session of its own.
    child = f"""
import subprocess, sys
code = {_CONNECT.replace("NAME", repr(daemon.name))!r} + '''
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(hear(connect()), flush=True)
'''
subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE).stdout.decode()
"""
    assert daemon.value(child) == "b''\n"
    # And the thin client itself, started by code.
    client = f"subprocess.run([sys.executable, '-I', '-S', {str(SOURCE)!r}, 'connect', "
    client += f"'--socket', {daemon.name!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE).stdout"
    assert daemon.value(client) == b""
    assert daemon.connect().hello()["type"] == "ready"


def test_a_connection_left_behind_by_a_process_that_has_ended(daemon):
    """The kernel tells who connected; by the time the daemon looks that process is gone."""
    daemon.run(_CONNECT.replace("NAME", repr(daemon.name)))
    code = """
os.kill(os.getppid(), signal.SIGSTOP)
ours, theirs = socket.socketpair()
if os.fork() == 0:
    stream = connect()
    socket.send_fds(theirs, [b"x"], [stream.fileno()])
    os._exit(0)
theirs.close()
_, (descriptor,), _, _ = socket.recv_fds(ours, 1, 1)
os.wait()
os.kill(os.getppid(), signal.SIGCONT)
hear(socket.socket(fileno=descriptor))
"""
    assert daemon.value(code) == b""


def test_only_signals_from_outside_stop_the_daemon(daemon):
    daemon.run("import os, signal")
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        assert daemon.run(f"os.kill(os.getppid(), signal.{name})")["ok"]
    one_shot = "pid = os.fork()\nif pid == 0:\n    os.kill(parent, signal.SIGTERM); os._exit(0)\n"
    daemon.run("parent = os.getppid()\n" + one_shot + "os.waitpid(pid, 0)")
    assert daemon.run("1 + 1")["output"] == "2\n"
    daemon.process.terminate()
    assert daemon.controller.last_words() == [{"type": "bye"}]
    assert daemon.process.wait(20) == 0


_QUEUE = """
import ctypes, fcntl, os, signal, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
daemon = os.getppid()
tkill, tgkill, queue, queue_to_thread = NUMBERS[os.uname().machine]
nobody = ctypes.create_string_buffer(128)  # a siginfo: queued (-1), by pid 0
def call(*arguments):
    result = libc.syscall(*arguments)
    return result if result >= 0 else ctypes.get_errno()
def say(number, code=-1):
    struct.pack_into("=iii4xIi", nobody, 0, number, 0, code, 0, 0)
    return nobody
def use_up_the_queue():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
    while call(queue, os.getpid(), int(signal.SIGRTMIN), say(signal.SIGRTMIN)) == 0:
        pass
"""


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param("call(queue, daemon, 15, say(15))", id="queued"),
        pytest.param("call(queue_to_thread, daemon, daemon, 15, say(15))", id="queued to a thread"),
        pytest.param("call(424, os.pidfd_open(daemon), 15, say(15), 0)", id="queued by pidfd"),
        pytest.param("use_up_the_queue()\ncall(tkill, daemon, 15)", id="tkill"),
        pytest.param("use_up_the_queue()\ncall(tgkill, daemon, daemon, 15)", id="tgkill"),
        pytest.param("use_up_the_queue()\ncall(queue, daemon, 15, say(15))", id="queue full"),
        pytest.param(
            "use_up_the_queue()\ncall(424, os.pidfd_open(daemon), 15, None, 1)", id="pidfd, thread"
        ),
        pytest.param("use_up_the_queue()\nos.kill(daemon, 15) or 1", id="kill"),
        pytest.param(
            "ours, theirs = socket.socketpair()\n"
            "fcntl.fcntl(ours, fcntl.F_SETOWN, daemon)\n"
            "fcntl.fcntl(ours, 10, 15)  # F_SETSIG\n"
            "fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC)\n"
            "theirs.send(b'x')",
            id="sent by the kernel for a file",
        ),
    ],
)
def test_signals_that_seem_to_come_from_outside_do_not_stop_the_daemon(daemon, forge):
    numbers = {"x86_64": (200, 234, 129, 297), "aarch64": (130, 131, 138, 240)}
    answer = daemon.run(f"NUMBERS = {numbers}\n{_QUEUE}\n{forge}")
    assert (answer["ok"], answer["output"]) == (True, "1\n"), answer
    # To itself it may: abort, and signals between threads, are made of these.
    assert (
        daemon.value("signal.raise_signal(0); call(424, os.pidfd_open(os.getpid()), 0, None, 0)")
        == 0
    )
    daemon.process.terminate()
    assert daemon.controller.last_words() == [{"type": "bye"}]


# Processes that want to outlive a reset. Each holds a listening socket, which tells who lives.

_HOLD = """
import ctypes, os, signal, socket, threading, time
holder = socket.socket(socket.AF_UNIX)
holder.bind("\\0" + NAME)
holder.listen()
def stay(how):
    if os.fork() == 0:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        try:
            how()
        finally:
            os._exit(1)
"""


def _is_held(name: str) -> bool:
    with socket.socket(socket.AF_UNIX) as stream:
        try:
            stream.connect("\0" + name)
        except ConnectionRefusedError:
            return False
        return True


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("stay(signal.pause)", id="asleep"),
        pytest.param("stay(lambda: os.kill(os.getpid(), signal.SIGSTOP))", id="stopped"),
        pytest.param(
            "def leaderless():\n"
            "    threading.Thread(target=time.sleep, args=(100,)).start()\n"
            "    ctypes.CDLL(None).syscall(60, 0)  # exit, this thread alone\n"
            "stay(leaderless)",
            id="without its first thread",
        ),
        pytest.param(
            "def family():\n    for _ in range(6): os.fork()\n    signal.pause()\nstay(family)",
            id="many",
        ),
        pytest.param(
            "def run():\n"
            "    while True:\n"
            "        if os.fork(): os._exit(0)\n"
            "        os.setsid()\n"
            "stay(run)",
            id="on the run",
        ),
    ],
)
def test_nothing_outlives_a_reset(daemon, how):
    name = f"cataloger-test-{os.urandom(8).hex()}"
    daemon.run(_HOLD.replace("NAME", repr(name)) + how)
    assert _is_held(name)
    answer = daemon.call(type="reset", env={})
    assert answer["ok"], answer
    assert not _is_held(name)
    assert daemon.run("1 + 1")["output"] == "2\n"


# The preloader.


def _preloader(daemon) -> int:
    daemon.run(_FIND)
    return daemon.value("preloader()")


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV"])
def test_code_ends_the_preloader(daemon, name):
    before = _preloader(daemon)
    daemon.run(f"kept = 1; os.kill(preloader(), signal.{name})")
    wait_for(lambda: not os.path.exists(f"/proc/{before}"))
    assert daemon.run("kept")["output"] == "1\n"
    answer = daemon.call(type="reset", env={"A": "b"})
    assert answer["ok"], answer
    assert daemon.run("kept")["error"]["name"] == "NameError"
    assert daemon.value("__import__('os').environ['A']") == "b"
    assert _preloader(daemon) != before
    # And the same when the session is lost with it.
    daemon.run("os.kill(preloader(), signal.SIGKILL); os._exit(3)")
    answer = daemon.run("1 + 1")
    assert (answer["output"], answer["state"]) == ("2\n", "kept")


def test_code_stops_the_preloader(daemon):
    _preloader(daemon)
    daemon.run("os.kill(preloader(), signal.SIGSTOP)")
    assert daemon.call(type="reset", env={})["ok"]
    assert daemon.run("1 + 1")["output"] == "2\n"


_STATE = """
import os, resource
[resource.getrlimit(getattr(resource, kind)) for kind in sorted(dir(resource))
 if kind.startswith("RLIMIT_")] + [os.nice(0), os.sched_getaffinity(0), os.sched_getscheduler(0)]
"""


@pytest.mark.parametrize(
    "tamper",
    [
        "resource.prlimit(one, resource.RLIMIT_NOFILE, (100, 100))",
        "resource.prlimit(one, resource.RLIMIT_CPU, (1000, 1000))",
        "resource.prlimit(one, resource.RLIMIT_FSIZE, (1000, 1000))",
        "resource.prlimit(one, resource.RLIMIT_AS, (2**33, 2**33))",
        "os.setpriority(os.PRIO_PROCESS, one, 19)",
        "os.sched_setaffinity(one, {min(os.sched_getaffinity(0))})",
        "os.sched_setscheduler(one, os.SCHED_BATCH, os.sched_param(0))",
    ],
)
@pytest.mark.parametrize("whose", ["preloader()", "os.getppid()"])
def test_code_cant_change_limits_and_priorities_of_the_trusted(daemon, tamper, whose):
    _preloader(daemon)
    refused = daemon.run(f"one = {whose}; {tamper}")
    assert refused["error"]["name"] == "PermissionError", refused
    # Its own it can, and those it starts are fenced in with it.
    assert daemon.run("resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000)); os.nice(1)")["ok"]
    code = f"import os, resource, sys; one = int(sys.argv[1]); {tamper}"
    answer = daemon.run(
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {code!r}, str(one)], stderr=-3).returncode"
    )
    assert answer["output"] == "1\n", answer
    before = daemon.value(_STATE)
    assert daemon.call(type="reset", env={})["ok"]
    assert daemon.value(_STATE) != before


@pytest.mark.parametrize(
    "call", ["248, b'user', b'n', b'v', 1, -4", "249, b'user', b'n', 0, 0", "250, 0, -4, 1"]
)
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86_64")
def test_code_leaves_nothing_in_keyrings(daemon, call):
    answer = daemon.run(
        "import ctypes; c = ctypes.CDLL(None, use_errno=True)\n"
        f"c.syscall({call}), ctypes.get_errno()"
    )
    assert answer["output"] == "(-1, 1)\n", answer


def test_rlimits_of_the_session(start):
    daemon = start("--rlimit", "nofile=1000", "--rlimit", "cpu=500")
    daemon.run("import resource")
    assert daemon.value("resource.getrlimit(resource.RLIMIT_NOFILE)") == (1000, 1000)
    assert daemon.value("resource.getrlimit(resource.RLIMIT_CPU)") == (500, 500)
    assert daemon.value("resource.getrlimit(resource.RLIMIT_CORE)") == (0, 0)
    daemon.call(type="reset", env={})
    assert daemon.value("__import__('resource').getrlimit(7)") == (1000, 1000)


# The session's own channel.


_CHANNEL = """
import os, socket, struct
(channel,) = [int(n) for n in os.listdir("/proc/self/fd") if int(n) >= 900
              and os.readlink("/proc/self/fd/" + n).startswith("socket")]
def tell(body):
    os.write(channel, struct.pack(">I", len(body)) + body)
"""


@pytest.mark.parametrize(
    "act",
    [
        "tell(b'garbage')",
        "tell(b'{}')",
        "tell(b'[]')",
        """tell(b'{"type":"ready"}')""",
        """tell(b'{"type":"done"}')""",
        """tell(b'{"type":"done","nonce":[],"ok":true,"error":null}')""",
        "os.write(channel, b'\\xff\\xff\\xff\\xff')",
        # 16 MiB would be fine for a controller's frame.
        "os.write(channel, struct.pack('>I', 16 * 2**20) + bytes(1000))",
    ],
)
def test_code_that_writes_to_the_channel(daemon, act):
    daemon.run(_CHANNEL)
    answer = daemon.run(f"{act}\nimport signal; signal.pause()", timeout_ms=10_000)
    assert (answer["status"], answer["state"]) == ("corrupted", "lost")
    answer = daemon.run("1 + 1")
    assert answer["output"] == "2\n"


def test_errors_that_code_makes_up(daemon):
    """It may know the call's nonce, which lies in its memory; its answer is its own word then."""
    code = f"""
{_CHANNEL}
import json, sys
frame = sys._getframe()
while "message" not in frame.f_locals:
    frame = frame.f_back
nonce = frame.f_locals["message"]["nonce"]
def done(error):
    tell(json.dumps({{"type": "done", "nonce": nonce, "ok": False}})[:-1].encode()
         + b',"error":' + error + b"}}")
    os._exit(0)
"""

    def answer_to(error: str) -> dict:
        answer = daemon.run(f"{code}done({error})")
        # The next call would meet the session that is about to end.
        wait_for(lambda: daemon.status()["generation"] > answer["generation"])
        return answer

    for error, shown in (
        ([1], {"name": "", "message": ""}),
        ({"name": 1, "message": None}, {"name": "", "message": ""}),
        ({"name": "x", "message": "y" * 5000}, {"name": "x", "message": "y" * 1000}),
    ):
        answer = answer_to(repr(json.dumps(error).encode()))
        assert (answer["status"], answer["error"]) == ("error", shown)
    for depth in range(940, 1000, 3):
        answer = answer_to(f"b'{{\"name\":' + b'[' * {depth} + b']' * {depth} + b'}}'")
        assert answer["status"] in ("error", "corrupted")
    assert daemon.run("1 + 1")["output"] == "2\n"


# Secrets.


def test_no_secret_is_told(start):
    url = f"postgresql://reader:{SECRET}@db/sales"
    daemon = start(env={"DATABASE_URL": url})
    heard = [daemon.controller.welcome]
    for hello in (
        {"key": bytes(32)},
        {"claim": True},
        {"instead": {"claim": {"key": KEY.hex(), "env": {"A": [SECRET]}}}},
        {"instead": {"claim": {"key": KEY.hex(), "env": {"A": SECRET + "\0"}}}},
        {"instead": {"claim": {"key": KEY.hex(), "env": {"A": SECRET * 10_000}}}},
        {"instead": {"proof": None}},
        {"instead": {"protocol": 7}},
    ):
        stranger = daemon.connect()
        heard += [stranger.hello(**hello), *stranger.last_words()]
    for bad in (b"garbage", b'{"type":"hello","claim":"%s"}' % SECRET.encode()):
        stranger = daemon.connect()
        stranger.send_payload(bad)
        heard += stranger.last_words()
    for env in ({"A": [SECRET]}, {"A": SECRET + "\0"}, [SECRET], {"A": SECRET * 10_000}):
        heard.append(daemon.call(type="reset", env=env))
    heard.append(daemon.status())
    heard += map(
        daemon.run, ("import os; os.kill(os.getpid(), 9)", "import os; os._exit(1)", "1/0")
    )
    heard.append(daemon.reconnect())
    daemon.controller.send_payload(b"garbage")
    heard += daemon.controller.last_words()
    cmdline = Path(f"/proc/{daemon.process.pid}/cmdline").read_bytes()
    told = [json.dumps(heard), repr(cmdline), daemon.close()]
    for secret in (SECRET, KEY.hex()):
        assert not any(secret in text for text in told)


_POISON = """
import os, matplotlib, signal
text = "figure.dpi: 33"
home = os.path.expanduser("~")
for place in (matplotlib.get_configdir(), ".", home, home + "/.config/matplotlib"):
    os.makedirs(place, exist_ok=True)
    with open(place + "/matplotlibrc", "w") as file:
        file.write(text)
os.kill(preloader(), signal.SIGKILL)
os._exit(0)
"""


def test_the_programs_that_packages_run_have_a_place_for_their_caches(daemon):
    """Without one, fontconfig complains whenever a system's fonts are newer than its list."""
    make = "import os; os.makedirs(os.path.join(os.environ['XDG_CACHE_HOME'], 'fontconfig'))"
    assert daemon.run(make)["status"] == "ok"


def test_a_new_preloader_heeds_no_settings_that_code_has_left(start):
    pytest.importorskip("matplotlib")
    daemon = start("--preload", "matplotlib.pyplot")
    _preloader(daemon)
    assert daemon.run(_POISON)["status"] == "exited"
    assert daemon.value("import matplotlib; matplotlib.rcParams['figure.dpi']") == 100
    assert daemon.call(type="reset", env={})["ok"]
    assert daemon.value("import matplotlib; matplotlib.rcParams['figure.dpi']") == 100
    assert daemon.value("import os; os.path.expanduser('~') == os.getcwd()")
