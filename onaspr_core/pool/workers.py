"""Processes that do jobs one at a time and may be killed over any of them.

A decoder may crash, hang or ask for all memory on one file of a hundred thousand. Each process here has a
known job, so that only that job is lost, with a reason. A process imports what the work needs, and not the
program that started it. What does not belong here: what the jobs are (`cut`).
"""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

JOBS_AHEAD = 2
"""A process has its next job before it is done with one, so that it need not wait for its parent."""

SECONDS_TO_START = 120.0

SECONDS_BETWEEN_TICKS = 1.0
"""Whoever waits for results hears at least this often that there is none yet."""

WORKING, DONE, CRASHED, HUNG = "working", "done", "crashed", "hung"

SECONDS_PER_FILE = 120.0
"""A file that takes longer is given up. A usual one takes a tenth of a second, a 4K film's span a few."""

MEMORY_PER_PROCESS = 8 * 2**30
"""Bytes of address space. The largest allowed frames, with all that H.264 refers to, take a quarter."""

_SERVE = "import sys; from onaspr_core.pool.workers import serve; serve(int(sys.argv[1]), int(sys.argv[2]))"


def run_jobs(
    jobs: Iterable[Job],
    work: Callable[[Job], Result],
    lost: Callable[[Job, str], Result],
    *,
    processes: int,
    seconds: float,
    memory: int,
) -> Iterator[Result | None]:
    """Yield the results of all jobs as they are finished, in any order; None where none came for a second.

    One process finishes them in their order.

    Args:
        jobs: Read only as fast as they are done.
        work: Does one job in a process; importable by name, and not from the main module.
        lost: Makes the result of a job over which its process ended itself (`CRASHED`) or was ended (`HUNG`).
        processes: How many processes work at once.
        seconds: How long one job may take.
        memory: Bytes of address space that a process may use; beyond, it meets a `MemoryError`.

    Raises:
        RuntimeError: when a process ends before it has begun to work.
    """
    waiting, again = iter(jobs), deque[Job]()

    def take() -> Job | None:
        return again.popleft() if again else next(waiting, None)

    workers: list[_Worker[Job, Result]] = []
    # What a process that is killed leaves half-written disappears with this folder.
    with tempfile.TemporaryDirectory(prefix="onaspr-") as folder:
        try:
            while True:
                _hand_out(take, workers, processes, lambda: _Worker(work, folder, memory))
                busy = [worker for worker in workers if worker.jobs]
                if not busy:
                    return
                patience = min(SECONDS_BETWEEN_TICKS, *(worker.left(seconds) for worker in busy))
                if not wait([worker.connection for worker in busy], patience):
                    yield None
                for worker in busy:
                    state, result = worker.look(seconds)
                    if state == DONE:
                        worker.next()
                        yield result
                    elif state in (CRASHED, HUNG):
                        workers.remove(worker)
                        worker.kill()
                        again.extend(list(worker.jobs)[1:])
                        yield lost(worker.jobs[0], state)
        finally:
            for worker in workers:
                worker.kill()


def told_of_lost(how: str, seconds: float) -> str:
    """Return the reason for a file over which its process was lost, for people."""
    if how == CRASHED:
        return "the process that read this file crashed"
    return f"reading it took longer than {seconds:g} s"


def serve(connection: int, lifeline: int) -> None:
    """Do jobs until there are no more; what a process runs. The arguments are file descriptors."""
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    jobs: Connection[Any, Any] = Connection(connection)
    work, memory = jobs.recv()
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    jobs.send(None)
    with suppress(EOFError):
        while True:
            jobs.send(work(jobs.recv()))


class _Worker(Generic[Job, Result]):
    """A process, the jobs it has, and since when it is at the first of them."""

    def __init__(self, work: Callable[[Job], Result], folder: str, memory: int) -> None:
        self.jobs: deque[Job] = deque()
        self._ready = False
        self._since = time.monotonic()
        self.connection, far = Pipe()
        alive, self._lifeline = os.pipe()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "TMPDIR": folder,
            "OMP_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(far.fileno()), str(alive)],
            stdin=subprocess.DEVNULL,
            pass_fds=(far.fileno(), alive),
            env=environment,
        )
        far.close()
        os.close(alive)
        self._send((work, memory))

    def give(self, job: Job) -> None:
        """Add a job; the first one counts from now."""
        if not self.jobs and self._ready:
            self._since = time.monotonic()
        self.jobs.append(job)
        self._send(job)

    def next(self) -> None:
        """Forget the job that is done; the one behind it counts from now."""
        self.jobs.popleft()
        self._since = time.monotonic()

    def left(self, seconds: float) -> float:
        """Seconds until the process is late."""
        allowed = seconds if self._ready else SECONDS_TO_START
        return max(0.0, self._since + allowed - time.monotonic())

    def look(self, seconds: float) -> tuple[str, Any]:
        """Return `DONE` with a result, `CRASHED`, `HUNG` or `WORKING`."""
        state, result = WORKING, None
        if self.connection.poll():
            try:
                state, result = DONE, self.connection.recv()
            except (EOFError, OSError):
                state = CRASHED
        elif not self.left(seconds):
            state = HUNG
        if self._ready or state == WORKING:
            return state, result
        if state != DONE:
            raise RuntimeError(f"a worker process did not start: it {state}")
        self._ready, self._since = True, time.monotonic()
        return WORKING, None

    def kill(self) -> None:
        """End the process whatever it does."""
        self._process.kill()
        self._process.wait()
        self.connection.close()
        os.close(self._lifeline)

    def _send(self, message: object) -> None:
        # A process that has ended is noticed when it is asked for a result.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(message)


def _hand_out(
    take: Callable[[], Job | None],
    workers: list["_Worker[Job, Result]"],
    processes: int,
    start: Callable[[], "_Worker[Job, Result]"],
) -> None:
    """Give jobs to processes, one to each before two to any; processes are started when there is a job."""
    for ahead in range(1, JOBS_AHEAD + 1):
        for place in range(processes):
            if place < len(workers) and len(workers[place].jobs) >= ahead:
                continue
            if (job := take()) is None:
                return
            if place == len(workers):
                workers.append(start())
            workers[place].give(job)


def _end_with_parent(lifeline: int) -> None:
    """End this process when its parent is gone; in the middle of a job it would not notice."""
    os.read(lifeline, 1)
    os._exit(1)
