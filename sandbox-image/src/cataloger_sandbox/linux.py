"""What the kernel offers and Python doesn't wrap: prctl, signalfd, peers, the process table."""

import ctypes
import errno
import os
import signal
import socket
import struct

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_SFD_FLAGS = 0o2004000  # SFD_CLOEXEC | SFD_NONBLOCK
_SIGINFO_BYTES = 128
_VOUCHED_FOR = (0, 0x80)  # SI_USER, what kill says; SI_KERNEL
PAGE = os.sysconf("SC_PAGE_SIZE")


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def set_dumpable(dumpable: bool) -> None:
    """A non-dumpable process can't be traced, and /proc hides its memory, from its own uid."""
    _prctl(_PR_SET_DUMPABLE, int(dumpable))


def become_subreaper() -> None:
    """Orphans of this process's descendants become its children, as they do for PID 1."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Be killed when the parent ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class SignalQueue:
    """Signals as readable events that tell who sent them."""

    def __init__(self, signals: set[signal.Signals]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        mask = (ctypes.c_ubyte * 128)()
        _LIBC.sigemptyset(mask)
        for number in signals:
            _LIBC.sigaddset(mask, int(number))
        self._descriptor = _LIBC.signalfd(-1, mask, _SFD_FLAGS)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "signalfd")

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> list[tuple[int, int]]:
        """Pairs of signal number and sender's pid.

        The pid is 0 for who is outside of our PID namespace, and -1 where the kernel does not
        vouch for it: who queues a signal may put any pid into it.
        """
        found = []
        try:
            while data := os.read(self._descriptor, 16 * _SIGINFO_BYTES):
                for start in range(0, len(data), _SIGINFO_BYTES):
                    number, _, code, pid = struct.unpack_from("=IiiI", data, start)
                    found.append((number, pid if code in _VOUCHED_FOR else -1))
        except BlockingIOError:
            pass
        return found


def peer(connection: socket.socket) -> tuple[int, int]:
    """Pid and uid of who is at the other end of a Unix socket."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", raw)
    return pid, uid


def parents() -> dict[int, int]:
    """Every process that can be seen, with its parent. Zombies are left out.

    A process whose first thread has ended looks like a zombie, and lives: it has others.
    """
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
                    # The command's name may hold anything, also ") Z 1 ".
                    fields = file.read(1024).rpartition(b")")[2].split()
                state, parent, threads = fields[0], int(fields[1]), int(fields[17])
            except (OSError, ValueError, IndexError):
                continue
            if state not in (b"Z", b"X") or threads > 1:
                found[int(name)] = parent
    return found


def count_processes() -> int:
    """How many processes can be seen, dead ones too: quick, also with thousands of them."""
    return sum(name.isdigit() for name in os.listdir("/proc"))


def descendants(root: int) -> set[int]:
    """All living processes below a process."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = [root]
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            if pid not in found:
                found.add(pid)
                waiting.append(pid)
    return found


def is_child(pid: int) -> bool:
    """Whether a process is a child of ours, living or not waited for yet."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def has_dead_child() -> bool:
    """Whether a child has ended that was not waited for yet."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def signal_process(pid: int, number: int) -> None:
    """Send a signal; a process that is gone, or not ours, is passed over."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def private_bytes(pid: int) -> int:
    """A quick upper bound of what a process holds: pages shared by fork count in full."""
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:
            _, resident, shared = file.read(256).split()[:3]
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * PAGE


def proportional_bytes(pid: int) -> int:
    """What a process holds, shared pages divided by who shares them; slow, so for second looks."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb", buffering=0) as file:
            fields = dict(line.split()[:2] for line in file.read(4096).splitlines()[1:])
        return (int(fields[b"Pss_Anon:"]) + int(fields[b"Pss_Shmem:"])) * 1024
    except (OSError, ValueError, KeyError):
        return private_bytes(pid)


def resident_bytes() -> int:
    """Resident memory of this process."""
    with open("/proc/self/statm", "rb", buffering=0) as file:
        return int(file.read(256).split()[1]) * PAGE


def remove_ipc() -> None:
    """Remove System V shared memory, queues and semaphores of our uid."""
    uid = os.getuid()
    for table, column, remove in (
        ("shm", "shmid", lambda number: _LIBC.shmctl(number, 0, None)),
        ("msg", "msqid", lambda number: _LIBC.msgctl(number, 0, None)),
        ("sem", "semid", lambda number: _LIBC.semctl(number, 0, 0)),
    ):
        try:
            with open(f"/proc/sysvipc/{table}", encoding="ascii") as file:
                names = file.readline().split()
                rows = [dict(zip(names, line.split(), strict=False)) for line in file]
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EACCES):
                raise
            continue
        for row in rows:
            if int(row.get("uid", -1)) == uid or int(row.get("cuid", -1)) == uid:
                remove(int(row[column]))
