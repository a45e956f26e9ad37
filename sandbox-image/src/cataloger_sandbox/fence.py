"""A system call filter that a session puts around itself before any of the agent's code runs.

Processes of one uid may change each other's limits and priorities, also of those that they can't
trace: the daemon would be ended by a file limit of nothing. They may queue signals without room
for who sent them, which then look like those from outside. And the kernel's keyrings belong to
the uid, so a note left there would outlive a reset. The filter refuses just that, with EPERM, to
the session and to all that it starts.
"""

import ctypes
import errno
import os
import struct

_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM

# Of struct seccomp_data: the call's number, the architecture, the low halves of the arguments.
_NUMBER, _ARCHITECTURE = 0, 4
_ARGUMENTS = [16 + 8 * index for index in range(6)]

# Opcodes of the classic packet filter: load a word, jump if equal, if at least, return.
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06

# name of the machine: architecture, calls with a pid first, calls with a kind and an id, keyrings,
# signals whose sender the kernel may forget.
_MACHINES = {
    # prlimit64, sched_setaffinity, _setscheduler, _setparam, _setattr; setpriority, ioprio_set;
    # add_key, request_key, keyctl; tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo.
    "x86_64": (
        0xC000003E,
        (302, 203, 144, 142, 314),
        (141, 251),
        (248, 249, 250),
        (200, 234, 129, 297),
    ),
    "aarch64": (
        0xC00000B7,
        (261, 122, 119, 118, 274),
        (140, 30),
        (217, 218, 219),
        (130, 131, 138, 240),
    ),
}
_PIDFD_SEND_SIGNAL = 424


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def program(machine: str, daemon: int) -> bytes:
    """The filter for a machine's own system calls; those of another architecture are refused."""
    architecture, by_pid, by_kind, refused, queueing = _MACHINES[machine]
    refuse, allow = _step(_RETURN, _REFUSE), _step(_RETURN, _ALLOW)
    steps = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, architecture, 1, 0),
        refuse,
        _step(_LOAD, _NUMBER),
        # x32, which counts its calls from here.
        _step(_AT_LEAST, 0x40000000, 0, 1),
        refuse,
    ]
    for number in refused:
        steps += [_step(_EQUAL, number, 0, 1), refuse]
    for number in by_pid:  # nobody but the caller: pid 0
        steps += [
            _step(_EQUAL, number, 0, 4),
            _step(_LOAD, _ARGUMENTS[0]),
            _step(_EQUAL, 0, 1, 0),
            refuse,
            allow,
        ]
    for number in by_kind:  # the caller or its group: id 0, and no kind that means a whole user
        steps += [
            _step(_EQUAL, number, 0, 6),
            _step(_LOAD, _ARGUMENTS[1]),
            _step(_EQUAL, 0, 0, 2),
            _step(_LOAD, _ARGUMENTS[0]),
            _step(_AT_LEAST, 3 if number == by_kind[1] else 2, 0, 1),
            refuse,
            allow,
        ]
    for number in queueing:  # anybody but the daemon
        steps += [
            _step(_EQUAL, number, 0, 4),
            _step(_LOAD, _ARGUMENTS[0]),
            _step(_EQUAL, daemon, 0, 1),
            refuse,
            allow,
        ]
    # A process file descriptor does not tell whose it is: only as kill would do it, with neither
    # a siginfo of one's own (a pointer: both halves) nor flags.
    steps += [_step(_EQUAL, _PIDFD_SEND_SIGNAL, 0, 9)]
    for half in (_ARGUMENTS[2], _ARGUMENTS[2] + 4, _ARGUMENTS[3]):
        steps += [_step(_LOAD, half), _step(_EQUAL, 0, 1, 0), refuse]
    return b"".join([*steps, allow])


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def put_up(daemon: int) -> None:
    """Put the filter around this process and all that it starts. It can't be taken off."""
    machine = os.uname().machine
    if machine not in _MACHINES:
        raise OSError(errno.ENOSYS, f"no system call filter is known for {machine}")
    steps = program(machine, daemon)
    libc = ctypes.CDLL(None, use_errno=True)
    filter_ = _Program(len(steps) // 8, steps)
    for option, value, argument in (
        (_PR_SET_NO_NEW_PRIVS, 1, None),
        (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filter_)),
    ):
        if libc.prctl(option, ctypes.c_ulong(value), argument, 0, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"prctl({option}): {os.strerror(number)}")
