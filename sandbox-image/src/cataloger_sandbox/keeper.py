"""Keeps one session alive: starts it, runs calls in it, ends it, replaces it when it is lost.

A state machine driven by the daemon's loop. It knows calls, but no frames and no controllers.
"""

import os
import signal
import socket
import time
from collections.abc import Callable
from enum import Enum

from cataloger_sandbox import linux
from cataloger_sandbox.background import Background, make_pipe, read_present, read_some
from cataloger_sandbox.capture import Capture
from cataloger_sandbox.events import Events
from cataloger_sandbox.frames import FrameError, Reader, decode, encode, frame
from cataloger_sandbox.nursery import Nursery
from cataloger_sandbox.options import SESSION_BROKEN, Options
from cataloger_sandbox.watch import Watch

# Importing the data packages from a cold disk takes a while; a fork does not.
_START_SECONDS = 120.0
_MAX_FAILED_STARTS = 3
_QUICK_END_SECONDS = 1.0
_CLEAR_SECONDS = 30.0
_CLEAR_PAUSE = 0.003
_CHANNEL_GRACE = 0.2
_MAX_TOLD = 64 * 1024  # bytes of a session's message: an error's text is the longest
_TERM_SECONDS = 2.0
# So many processes beyond the allowed ones are the container's own: streams, and the trusted.
_OTHERS = 64
_WATCH_RUNNING = (0.02, 0.2)  # seconds between looks at memory, at the process table
_WATCH_IDLE = (0.25, 1.0)


class Phase(Enum):
    """Where the session is."""

    EMPTY = "empty"
    LOADING = "loading"  # the preloader imports
    SWEEPING = "sweeping"  # the preloader empties directories
    FORKING = "forking"
    STARTING = "starting"
    IDLE = "idle"
    RUNNING = "running"
    CLEARING = "clearing"  # every process of the session is being ended


class Run:
    """A call to ``execute`` from when it may start to its result."""

    def __init__(self, message: dict) -> None:
        self.call: int = message["id"]
        self.code: str = message["code"]
        self.timeout: float = message["timeout_ms"] / 1000
        self.grace: float = message["grace_ms"] / 1000
        self.max_rows: int = message["max_rows"]
        self.capture = Capture(message["output_limit"])
        self.nonce = os.urandom(16).hex()
        self.pipe = -1
        self.started = 0.0
        self.interrupted: str | None = None  # the status that the interrupt stands for
        self.give_up = 0.0


class Unclearable(Exception):
    """Processes of the session can't be ended: the sandbox is of no more use."""


class Keeper:
    """The session's life."""

    def __init__(
        self,
        options: Options,
        events: Events,
        on_result: Callable[[dict], None],
        on_output: Callable[[int, int, str], None],
    ) -> None:
        self._options = options
        self._events = events
        self._on_result = on_result
        self._on_output = on_output
        self._watch = Watch(options.memory_limit, options.process_limit)
        self._env: dict[str, str] | None = None
        self.phase = Phase.EMPTY
        self.generation = 0
        self._phase_since = 0.0
        self._nursery = Nursery(options, events, self._hear_nursery)
        self._session: int | None = None
        self._channel: socket.socket | None = None
        self._reader = Reader()
        self._channel_closed = 0.0
        self._run: Run | None = None
        self._resetting = False
        self._sweep_wanted = False
        self._failed_starts = 0
        self._loss: tuple[str, str] | None = None
        self._notice: str | None = None
        self._background = Background(events)
        self._passes = 0
        self._met: set[int] = set()
        self._looked_memory = 0.0
        self._looked_table = 0.0
        self._stopping = 0.0

    # What the daemon asks.

    def open(self, env: dict[str, str]) -> None:
        """Keep a session with this environment from now on."""
        self._env = dict(env)
        self._begin()

    def execute(self, message: dict) -> None:
        """Run code; the result comes by ``on_result``."""
        self._run = Run(message)
        if self.phase is Phase.IDLE:
            self._launch_if_well()
        elif self.phase is Phase.EMPTY:
            self._begin()

    def reset(self, env: dict[str, str]) -> None:
        """End the session and begin another, with nothing left of the first."""
        self._env = dict(env)
        self._resetting = True
        self._sweep_wanted = True
        self._notice = None
        if self.phase is Phase.IDLE:
            self._lose("reset", "")
        elif self.phase is Phase.EMPTY:
            self._begin()

    def interrupt(self, call: int) -> bool:
        """As Ctrl-C would. False if that call isn't running."""
        run = self._run
        if run is None or run.call != call:
            return False
        if self.phase is Phase.RUNNING:
            self._interrupt(run, "interrupted")
        elif not run.started:  # it never will
            self._finish_run("interrupted", ok=False, detail="interrupted before it began")
        return True

    def stop(self) -> None:
        """End the session politely; ``stopped`` tells when it is gone."""
        if not self._stopping:
            self._stopping = time.monotonic() + _TERM_SECONDS
            for pid in self._watch.list_processes(self._apart()):
                linux.signal_process(pid, signal.SIGTERM)

    @property
    def stopped(self) -> bool:
        """After stop: nothing is left but the preloader."""
        return bool(self._stopping) and self.phase in (Phase.EMPTY, Phase.LOADING, Phase.SWEEPING)

    def status(self) -> dict:
        """For the daemon's ``status``."""
        self._watch.list_processes(self._apart())
        self._watch.too_much()
        return {
            "generation": self.generation,
            "phase": self.phase.value,
            "processes": len(self._watch.processes),
            "memory_bytes": self._watch.memory,
            "memory_limit": self._watch.memory_limit or None,
        }

    # Time.

    def next_deadline(self) -> float:
        """When ``tick`` wants to be called at the latest (monotonic seconds)."""
        if self.phase is Phase.CLEARING:
            return time.monotonic() + _CLEAR_PAUSE
        if self.phase in (Phase.EMPTY, Phase.LOADING, Phase.FORKING, Phase.SWEEPING):
            return time.monotonic() + 0.5
        memory, table = self._pace()
        times = [self._looked_memory + memory, self._looked_table + table]
        if self._channel_closed:
            times.append(self._channel_closed + _CHANNEL_GRACE)
        if self._stopping:
            times.append(self._stopping)
        run = self._run
        if run is not None and self.phase is Phase.RUNNING:
            times.append(run.give_up if run.interrupted else run.started + run.timeout)
        return min(times)

    def _pace(self) -> tuple[float, float]:
        return _WATCH_RUNNING if self.phase is Phase.RUNNING else _WATCH_IDLE

    def tick(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        if self.phase is Phase.CLEARING:
            self._clear(now)
            return
        if self._stopping and now >= self._stopping and not self.stopped:
            self._lose("killed", "the sandbox is shutting down")
            return
        if self.phase in (Phase.LOADING, Phase.SWEEPING, Phase.FORKING, Phase.STARTING):
            if now > self._phase_since + _START_SECONDS:
                self._give_up_start(f"no session could be started within {_START_SECONDS:.0f} s")
            return
        if self.phase not in (Phase.IDLE, Phase.RUNNING):
            return
        if self.phase is Phase.IDLE and self._run is not None:
            self._launch_if_well()
        if self._channel_closed and now >= self._channel_closed + _CHANNEL_GRACE:
            self._lose("corrupted", "the code closed the session's own channel")
            return
        run = self._run
        if run is not None and self.phase is Phase.RUNNING:
            if run.interrupted and now >= run.give_up:
                what = "timed out" if run.interrupted == "timeout" else "was interrupted"
                self._lose(
                    run.interrupted,
                    f"the code {what}, did not give way within {run.grace:g} s, "
                    "and was ended with the session",
                )
                return
            if not run.interrupted and now >= run.started + run.timeout:
                self._interrupt(run, "timeout")
        self._look(now)

    def _look(self, now: float) -> None:
        memory, table = self._pace()
        if now >= self._looked_table + table:
            self._looked_table = now
            if self._is_storm():
                complaint = self._watch.too_many(linux.count_processes())
                self._lose("too_many_processes", complaint or "the code had too many processes")
                return
            self._watch.list_processes(self._apart())
            if complaint := self._watch.too_many():
                self._lose("too_many_processes", complaint)
                return
        if now >= self._looked_memory + memory:
            self._looked_memory = now
            if complaint := self._watch.too_much():
                self._lose("out_of_memory", complaint)

    # The preloader.

    def _apart(self) -> set[int]:
        return {self._nursery.pid} if self._nursery.pid else set()

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self._phase_since = time.monotonic()

    def _begin(self) -> None:
        """Start a session, with the preloader first if there is none."""
        if self._stopping or self._env is None:
            self._enter(Phase.EMPTY)
        elif self._nursery.pid is None:
            self._nursery.start()
            self._enter(Phase.LOADING)
        elif not self._nursery.ready:
            self._enter(Phase.LOADING)
        elif self._sweep_wanted:
            self._enter(Phase.SWEEPING)
            self._nursery.sweep()
        else:
            self._fork()

    def _hear_nursery(self, message: dict) -> None:
        kind = message["type"]
        if kind == "loaded" and self.phase is Phase.LOADING:
            self._begin()
        elif kind == "swept" and self.phase is Phase.SWEEPING:
            self._swept(message["failed"])
        elif kind == "forked" and self.phase is Phase.FORKING:
            self._forked(message["pid"])

    def _nursery_ended(self) -> None:
        was_loading = self.phase is Phase.LOADING and not self._nursery.killed
        self._nursery.ended()
        if self.phase not in (Phase.LOADING, Phase.SWEEPING, Phase.FORKING):
            return  # the next start makes another
        since = self._phase_since
        self._drop_session()
        if was_loading and time.monotonic() < since + _QUICK_END_SECONDS:
            self._give_up_start("the preloader ends as soon as it is started")
            return
        # Once more; the start's deadline goes on, and ends this if it goes on dying.
        self._begin()
        self._phase_since = since

    def _give_up_start(self, why: str) -> None:
        self._nursery.kill()
        self._drop_session()
        self._enter(Phase.EMPTY)
        if self._resetting:
            self._finish_reset(ok=False, detail=why)
        elif self._run is not None:
            self._finish_run("unavailable", ok=False, detail=why, kept=False)

    # The session's start.

    def _fork(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        read, write = make_pipe()
        self._channel = ours
        self._channel_closed = 0.0
        self._reader = Reader(_MAX_TOLD)
        self._background.adopt(read)
        self._enter(Phase.FORKING)
        self._nursery.fork([theirs.fileno(), write])
        theirs.close()
        os.close(write)

    def _swept(self, failed: list[str]) -> None:
        self._sweep_wanted = False
        if failed:
            self._enter(Phase.EMPTY)
            why = "not everything could be removed: " + failed[0]
            if self._resetting:
                self._finish_reset(ok=False, detail=why)
            elif self._run is not None:  # the reset itself was given up before
                self._finish_run("unavailable", ok=False, detail=why, kept=False)
            return
        self._fork()

    def _forked(self, pid: int) -> None:
        if not pid or self._channel is None:
            self._give_up_start("the system allows no new process")
            return
        self.generation += 1
        self._enter(Phase.STARTING)
        if not linux.is_child(pid):  # it has ended, and was reaped, before we knew that it is ours
            self._lose("killed", "the session ended as it started")
            return
        self._session = pid
        self._events.on_readable(self._channel, self._hear_session)
        self._tell_session({"type": "start", "env": self._env or {}}, [])

    def _tell_session(self, message: dict, descriptors: list[int]) -> None:
        """Send a small message on the channel; what is large goes by descriptor."""
        assert self._channel is not None
        try:
            socket.send_fds(self._channel, [frame(encode(message))], descriptors)
        except OSError:
            pass  # it is gone, or does not read: its end, or the call's timeout, tells

    def _hear_session(self) -> None:
        if self._channel is None:
            return
        try:
            data = self._channel.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._events.forget(self._channel)
            self._channel_closed = time.monotonic()
            return
        self._reader.feed(data)
        try:
            while self._channel is not None and (payload := self._reader.next()) is not None:
                self._heed(decode(payload))
        except (FrameError, KeyError, TypeError):
            self._lose("corrupted", "the code wrote to the session's own channel")

    def _heed(self, message: dict) -> None:
        run = self._run
        if message["type"] == "ready" and self.phase is Phase.STARTING:
            self._enter(Phase.IDLE)
            self._failed_starts = 0
            if self._stopping:
                return
            if self._sweep_wanted:  # a reset was asked for while the session started
                self._lose("reset", "")
            elif self._resetting:
                self._finish_reset(ok=True, detail=None)
            elif run is not None:
                self._launch()
        elif (
            message["type"] == "done"
            and self.phase is Phase.RUNNING
            and run is not None
            and message["nonce"] == run.nonce
        ):
            self._done(run, bool(message["ok"]), message["error"])
        else:
            self._lose("corrupted", "the code wrote to the session's own channel")

    # A call.

    def _launch_if_well(self) -> None:
        """Not into a session that has just ended: its end would be told as this call's."""
        if not linux.has_dead_child():
            self._launch()

    def _launch(self) -> None:
        run = self._run
        assert run is not None
        read, write = make_pipe()
        run.pipe = read
        self._events.on_readable(read, lambda: self._drain_call(run))
        code = os.memfd_create("cell")
        os.write(code, run.code.encode("utf-8", "surrogatepass"))
        run.code = ""
        run.started = time.monotonic()
        self._enter(Phase.RUNNING)
        self._looked_memory = self._looked_table = run.started
        self._watch.note_base()
        self._watch.processes = {self._session} if self._session else set()
        self._tell_session(
            {
                "type": "run",
                "id": run.call,
                "nonce": run.nonce,
                "max_rows": run.max_rows,
            },
            [write, code],
        )
        os.close(write)
        os.close(code)

    def _interrupt(self, run: Run, status: str) -> None:
        if run.interrupted:
            return
        run.interrupted = status
        run.give_up = time.monotonic() + run.grace
        if self._session is not None:
            # Its programs too, as a terminal would.
            try:
                os.killpg(self._session, signal.SIGINT)
            except (ProcessLookupError, PermissionError):
                pass

    def _drain_call(self, run: Run) -> None:
        """Read what there is; the call's pipe ends when all who hold it have closed it."""
        data = read_some(run.pipe)
        if data is None:
            return
        if not data:
            self._events.forget(run.pipe)
            os.close(run.pipe)
            run.pipe = -1
            return
        offset = run.capture.streamed
        if text := run.capture.feed(data):
            self._on_output(run.call, offset, text)

    def _settle_pipe(self, run: Run) -> None:
        """Take what was written before the call ended; what comes later is background."""
        if run.pipe < 0:
            return
        read_present(run.pipe, run.capture)
        pipe, run.pipe = run.pipe, -1
        self._events.forget(pipe)
        self._background.adopt(pipe)

    def _done(self, run: Run, ok: bool, error: object) -> None:
        self._settle_pipe(run)
        self._enter(Phase.IDLE)
        if run.interrupted:
            what = (
                f"the code was interrupted after {run.timeout:g} s"
                if run.interrupted == "timeout"
                else "the code was interrupted"
            )
            self._finish_run(run.interrupted, ok=False, detail=what + "; the session goes on")
            return
        if ok:
            self._finish_run("ok", ok=True)
            return
        if not isinstance(error, dict):
            error = {}
        shown = dict.fromkeys(("name", "message"), "")
        shown |= {
            key: value[:1000]
            for key, value in error.items()
            if key in shown and isinstance(value, str)
        }
        self._finish_run("error", ok=False, error=shown)

    def _finish_run(
        self,
        status: str,
        *,
        ok: bool,
        detail: str | None = None,
        error: dict | None = None,
        kept: bool = True,
    ) -> None:
        run = self._run
        assert run is not None
        self._run = None
        output, omitted = run.capture.finish()
        notice, self._notice = self._notice, None
        began = run.started or time.monotonic()
        self._on_result(
            {
                "type": "result",
                "id": run.call,
                "ok": ok,
                "status": status,
                "output": output,
                "total": run.capture.total,
                "omitted": omitted,
                "state": "kept" if kept else "lost",
                "detail": detail,
                "notice": notice,
                "background": self._background.take(),
                "error": error,
                "duration_ms": int((time.monotonic() - began) * 1000),
                "generation": self.generation,
            }
        )

    def _finish_reset(self, *, ok: bool, detail: str | None) -> None:
        self._resetting = False
        self._background.forget()
        self._on_result(
            {
                "type": "result",
                "ok": ok,
                "status": "ok" if ok else "failed",
                "detail": detail,
                "generation": self.generation,
            }
        )

    def streamed(self, call: int) -> str:
        """The output of a running call so far, for a controller that comes back."""
        run = self._run
        return run.capture.head_text() if run is not None and run.call == call else ""

    # The session's end.

    def child_ended(self, pid: int, status: int) -> None:
        """A child was reaped."""
        if pid == self._nursery.pid:
            self._nursery_ended()
        elif pid == self._session:
            self._session = None
            if self.phase in (Phase.STARTING, Phase.IDLE, Phase.RUNNING):
                self._hear_last_words()
            if self.phase in (Phase.STARTING, Phase.IDLE, Phase.RUNNING):
                self._lose(*self._why_ended(status))

    def _hear_last_words(self) -> None:
        """A call may have ended well just before its process did."""
        while self._channel is not None and not self._channel_closed:
            before = self._reader.waiting, self.phase
            self._hear_session()
            if (self._reader.waiting, self.phase) == before:
                return

    def _why_ended(self, status: int) -> tuple[str, str]:
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            if number == signal.SIGKILL and self._watch.kernel_killed():
                return "out_of_memory", "the kernel ended the code: it used too much memory"
            try:
                name = signal.Signals(number).name
            except ValueError:
                name = f"signal {number}"
            if number == signal.SIGXCPU:
                name += " (its CPU time is used up)"
            return "killed", f"the session's process was ended by {name}"
        if self.phase is Phase.STARTING:  # none of the agent's code has run: what it says is ours
            said = (self._background.take() or {"output": ""})["output"].strip()
            return "exited", said.rpartition("\n")[2] or "it said nothing"
        if os.WEXITSTATUS(status) == SESSION_BROKEN:
            return "corrupted", "the code broke or closed what the session itself needs"
        return "exited", f"the session's process ended itself with code {os.WEXITSTATUS(status)}"

    def _lose(self, status: str, detail: str) -> None:
        self._loss = (status, detail)
        if self.phase is Phase.STARTING:
            self._failed_starts += 1
        if self._channel is not None:
            self._events.forget(self._channel)
        self._channel_closed = 0.0
        self._passes = 0
        self._met = set()
        self._enter(Phase.CLEARING)
        self._clear(time.monotonic())

    def _is_storm(self) -> bool:
        """Whether there are so many processes that to look at each takes too long.

        They leave the daemon a thousandth of the processor.
        """
        limit = self._options.process_limit
        return os.getpid() == 1 and 0 < limit < linux.count_processes() - _OTHERS

    @staticmethod
    def _end_all() -> None:
        """All at once, and the preloader and the streams with them."""
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def _clear(self, now: float) -> None:
        """One pass over what is left of the session."""
        if self._is_storm() and now <= self._phase_since + _CLEAR_SECONDS:
            self._end_all()
            return
        left = self._watch.list_processes(self._apart())
        # Who forks and ends all the time may not be found, but leaves dead children to us.
        if not left and self._session is None and not linux.has_dead_child():
            self._cleared()
            return
        if now > self._phase_since + _CLEAR_SECONDS:
            raise Unclearable(f"{len(left)} processes of the session can't be ended")
        # A process that takes its time to end, for all the memory it has, is no storm.
        if not left <= self._met or not left:
            self._passes += 1
        self._met |= left
        if self._passes > 3 and os.getpid() == 1:  # a storm of forks
            self._end_all()
            return
        # Stopped ones can't fork while the rest is ended.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in left:
                linux.signal_process(pid, number)

    def _drop_session(self) -> None:
        if self._channel is not None:
            self._events.forget(self._channel)
            self._channel.close()
            self._channel = None
        self._background.close()

    def _cleared(self) -> None:
        status, detail = self._loss or ("killed", "")
        self._loss = None
        run = self._run
        if self._channel is not None:  # a descriptor that was never received is closed with it
            self._channel.close()
            self._channel = None
        if run is not None and run.pipe >= 0:  # all writers are gone: what is left ends
            self._settle_pipe(run)
        self._drop_session()
        if status == "out_of_memory" and self._watch.files_fill_it():
            # The next session would be ended for them too.
            self._sweep_wanted = True
            detail += "; files in memory held it, and all its files were removed"
        if status != "reset":
            if run is not None and run.started:
                self._finish_run(status, ok=False, detail=detail, kept=False)
            elif not self._resetting:
                self._notice = f"the session was replaced before this call: {detail}"
        if self._failed_starts >= _MAX_FAILED_STARTS:
            self._failed_starts = 0
            self._give_up_start(f"{_MAX_FAILED_STARTS} sessions ended as they started: {detail}")
            return
        self._begin()
