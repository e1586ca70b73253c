"""Cutting clips from source videos and images, in processes of their own, and nothing else.

A clip is every n-th frame, cropped to the central square, resized and encoded as an H.264 MP4. An image is a
clip of one frame: one form for all a pool holds, at a loss below that of the JPEG it usually comes from. This
module is what the worker processes import, so it stays light. What does not belong here: where clips are kept
and which are needed (`clips`), and how processes are watched (`workers`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from av.error import FFmpegError

from onaspr_core.errors import PassingError, UserError
from onaspr_core.folders import is_url
from onaspr_core.media.decoding import pictures
from onaspr_core.media.video import mux_mp4
from onaspr_core.pool.media import Media, file_stamp, open_media
from onaspr_core.pool.squares import Squarer
from onaspr_core.pool.workers import CRASHED, MEMORY_PER_PROCESS, SECONDS_PER_FILE, run_jobs

PRESET = "veryfast"
"""x264's. On 16 far-apart frames slower ones take up to six times as long for equal bytes and SSIM."""


@dataclass(frozen=True)
class CutJob:
    """One clip to cut: its source as it was when the manifest was made, and how."""

    key: str
    media: Media
    stamp: str
    resolution: int
    frame_stride: int
    max_frames: int | None
    fps: float
    crf: int


@dataclass(frozen=True)
class CutClip:
    """What came of a job: MP4 bytes and the number of frames, or a reason.

    `lasting` says that the reason lies in the file's content, so that trying again would end the same.
    `suspect` says that it probably does: the process did not survive the file, which may also be for want of
    memory or time.
    """

    key: str
    mp4: bytes = b""
    frames: int = 0
    reason: str = ""
    lasting: bool = False
    suspect: bool = False


def cut_clip(job: CutJob) -> CutClip:
    """Cut one clip. Never raises for a bad file."""
    try:
        stamp = file_stamp(job.media.path)
    except OSError as problem:
        return CutClip(job.key, reason=f"the file cannot be opened: {problem.strerror or problem}")
    if stamp != job.stamp:
        return CutClip(job.key, reason="the file changed after the manifest was made; materialize it again")
    name = str(job.media)
    try:
        with open_media(job.media) as source:
            kept = pictures(
                source,
                name,
                stride=job.frame_stride,
                limit=job.max_frames,
                start=job.media.start,
                stop=job.media.stop,
            )
            options = {"crf": str(job.crf), "preset": PRESET}
            mp4, frames = mux_mp4(map(Squarer(job.resolution), kept), job.fps, options)
    except PassingError as problem:
        suspect = isinstance(problem.__cause__, MemoryError)
        return CutClip(job.key, reason=_without(name, problem), suspect=suspect)
    except UserError as problem:
        return CutClip(job.key, reason=_without(name, problem), lasting=True)
    # What is left goes wrong in writing, and is not the source's fault.
    except (OSError, FFmpegError) as problem:
        return CutClip(job.key, reason=f"the clip cannot be written: {problem}")
    # File systems of other makers raise what their network libraries do; a local file must have done it.
    except Exception as problem:
        told = f"the file cannot be read: {type(problem).__name__}: {problem}"
        return CutClip(job.key, reason=told, suspect=not is_url(job.media.path))
    return CutClip(job.key, mp4, frames)


def cut_all(
    jobs: Iterable[CutJob], processes: int, cut: Callable[[CutJob], CutClip] = cut_clip
) -> Iterator[CutClip | None]:
    """Yield the clips of all jobs as they are finished, in any order; None where none came for a second.

    A file on which the decoder crashes or hangs becomes a reason; the other clips are not lost.

    Args:
        jobs: What to cut.
        processes: How many processes work at once.
        cut: Does one job; importable by name, because the processes are spawned.
    """
    return run_jobs(
        jobs, cut, _lost, processes=processes, seconds=SECONDS_PER_FILE, memory=MEMORY_PER_PROCESS
    )


def _lost(job: CutJob, how: str) -> CutClip:
    if how == CRASHED:
        return CutClip(job.key, reason="the process that decoded this file crashed", suspect=True)
    return CutClip(job.key, reason=f"decoding took longer than {SECONDS_PER_FILE:g} s", suspect=True)


def _without(name: str, problem: UserError) -> str:
    """The reason without the file's name, which its row has; what is left begins with what is wrong."""
    return str(problem).removeprefix(f"{name}: ")
