"""Cutting clips from source videos, in several processes, and nothing else.

This module is what the worker processes import, so it stays light. What does not belong here: where clips
are kept and which are needed (`clips`).
"""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for
from pathlib import Path

import numpy as np

from onaspr_core.errors import PassingError, UserError
from onaspr_core.video import encode_mp4, iterate_frames, square


@dataclass(frozen=True)
class CutJob:
    """One clip to cut: the source as the manifest knew it (size in bytes, mtime in ns), and how."""

    key: str
    source: str
    bytes: int
    mtime_ns: int
    resolution: int
    frame_stride: int
    max_frames: int | None
    fps: float
    crf: int


@dataclass(frozen=True)
class CutClip:
    """What came of a job: MP4 bytes and the number of frames, or a reason.

    `lasting` says that the reason lies in the file's content, so that trying again would end the same.
    """

    key: str
    mp4: bytes = b""
    frames: int = 0
    reason: str = ""
    lasting: bool = False


def cut_clip(job: CutJob) -> CutClip:
    """Cut one clip: every n-th frame, centre-cropped, resized, encoded. Never raises for a bad file."""
    try:
        stat = Path(job.source).stat()
    except OSError as problem:
        return CutClip(job.key, reason=f"the file cannot be opened: {problem.strerror}")
    if (stat.st_size, stat.st_mtime_ns) != (job.bytes, job.mtime_ns):
        return CutClip(job.key, reason="the file changed after the manifest was made; materialize it again")
    try:
        frames = iterate_frames(job.source, stride=job.frame_stride, limit=job.max_frames)
        kept = np.stack([square(frame, job.resolution) for frame in frames])
    except UserError as problem:
        lasting = not isinstance(problem, PassingError)
        return CutClip(job.key, reason=str(problem).removeprefix(f"{job.source}: "), lasting=lasting)
    return CutClip(job.key, encode_mp4(kept, job.fps, job.crf), len(kept))


def cut_all(
    jobs: Sequence[CutJob], processes: int, cut: Callable[[CutJob], CutClip] = cut_clip
) -> Iterator[CutClip]:
    """Yield the clips of all jobs as they are finished, in any order.

    A file on which the decoder itself crashes becomes a reason, and is tried again at the next run, because
    a worker may also have been ended for want of memory; the other clips are not lost.

    Args:
        jobs: What to cut.
        processes: How many processes work at once.
        cut: Does one job; importable by name, because the processes are spawned.
    """
    waiting = deque(jobs)
    while waiting:
        running: dict[Future[CutClip], CutJob] = {}
        try:
            with _executor(min(processes, len(waiting))) as executor:
                while waiting or running:
                    while waiting and len(running) < 2 * processes:
                        running[executor.submit(cut, waiting[0])] = waiting[0]
                        waiting.popleft()
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        clip = future.result()
                        del running[future]
                        yield clip
        except BrokenProcessPool:
            for job in running.values():
                yield _cut_alone(job, cut)


def _cut_alone(job: CutJob, cut: Callable[[CutJob], CutClip]) -> CutClip:
    try:
        with _executor(1) as executor:
            return executor.submit(cut, job).result()
    except BrokenProcessPool:
        with _executor(1) as executor:
            executor.submit(os.getpid).result()  # raises where no worker can start at all
        return CutClip(job.key, reason="the process that decoded this file crashed")


def _executor(processes: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Make a worker end when its parent is killed; it would wait for jobs for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
