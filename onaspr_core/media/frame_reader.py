"""The frames of one video stream in display order, from a time on, with as little decoding as that takes.

What does not belong here: which frames are kept, and which files are refused for what they are (`decoding`).
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from onaspr_core.errors import UserError

SMALLEST_MARGIN = 2
"""A container may list this many frames more than it holds before the file counts as truncated."""

SECONDS_MARGIN = 1.0
"""The same for a container that lists no frames but a duration."""

TOLERANCE = 1e-3
"""Seconds by which a span's ends may be rounded: lists of clips give milliseconds."""

_LOOK_AHEAD = 32
"""Packets read before the first is decoded, which tells where it is displayed: H.264 and HEVC reorder 16."""

_DROPPING_CODECS = ("h264", "hevc")
"""Decoders that can leave out a frame to which no other refers."""


class FrameReader:
    """The frames of a stream from a time on, with their numbers and times, in display order.

    Frames that the stride leaves out may be missing: where no other frame refers to them they are not even
    decoded, which saves a third of the work on usual H.264.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, stride: int, start: float) -> None:
        """Read a stream of an open container from `start`, in seconds; each `stride`-th frame matters."""
        self._container, self._stream, self._stride, self._start = container, stream, stride, start
        self._base = stream.time_base or Fraction(1, 1000)
        self._zero = stream.start_time or 0
        self._first_pts = self._zero + math.ceil((start - TOLERANCE) / self._base) if start else None
        # One thread: the callers decode several files at once, in processes of their own.
        stream.codec_context.thread_count = 1

    def __iter__(self) -> Iterator[tuple[int, float, av.VideoFrame]]:
        frames = self._decode(self._start)
        first = next(frames, None)
        if self._start and (first is None or self._seconds(first.pts, 0.0) > self._start):
            # Without an index a seek may land behind the keyframe that is needed: read from the beginning.
            frames = self._decode(-1.0)
            first = next(frames, None)
        if first is None:
            return
        number, time, step = -1, 0.0, 1 / float(self._stream.average_rate or 25)
        for frame in itertools.chain((first,), frames):
            time = self._seconds(frame.pts, time + step)
            if self._first_pts is not None and time < self._start - TOLERANCE:
                continue
            if self._by_time and frame.pts is not None:
                number = bisect_left(self._times, frame.pts)
            else:
                number += 1
            yield number, time, frame

    def check_whole(self, name: str) -> None:
        """Refuse a file that ended before the frames, or the time, that its header tells of."""
        promised = self._stream.frames
        margin = max(SMALLEST_MARGIN, promised // 50)
        if not self._start and (not self._whole or self._sent + margin < promised):
            raise UserError(f"{name}: truncated: {self._sent} of {promised} frames could be decoded")
        told = self._told_seconds()
        if not self._whole or self._end + max(SECONDS_MARGIN, told / 50) < told:
            raise UserError(f"{name}: truncated: it ends at {self._end:.1f} of {told:.1f} s")

    def _decode(self, start: float) -> Iterator[av.VideoFrame]:
        self._times: list[int] = []
        self._sent, self._end, self._whole, self._timed, self._by_time = 0, 0.0, True, True, False
        if start:
            self._seek(start)
        context = self._stream.codec_context
        first = True
        for packet in self._packets():
            context.skip_frame = "NONREF" if self._may_drop(packet) else "DEFAULT"
            for frame in self._stream.decode(packet):
                if first:
                    # Two fields may be two packets of one frame; then packets do not number the frames.
                    dropping = context.name in _DROPPING_CODECS and not frame.interlaced_frame
                    self._by_time, first = dropping and self._timed, False
                yield frame

    def _seek(self, start: float) -> None:
        """Go to the keyframe before a time. Some formats refuse a time before their first, others need it."""
        for seconds in (start, 0.0):
            with suppress(av.error.FFmpegError):
                self._container.seek(self._zero + int(seconds / self._base), stream=self._stream)
                return

    def _packets(self) -> Iterator[Packet[Stream] | None]:
        """The stream's packets, each after the times of those behind it are known, and None at the end."""
        ahead: deque[Packet[Stream]] = deque()
        for packet in self._container.demux(*self._tracks()):
            if packet.is_corrupt:
                self._whole = False
                break
            if packet.size == 0:
                continue
            if packet.pts is not None and packet.time_base:
                self._end = max(self._end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream.index == self._stream.index:
                self._note(packet)
                ahead.append(packet)
            if len(ahead) > _LOOK_AHEAD:
                yield ahead.popleft()
        yield from ahead
        yield None

    def _note(self, packet: Packet[Stream]) -> None:
        self._sent += 1
        if packet.pts is None:
            self._timed = False
        elif not packet.is_discard and (self._first_pts is None or packet.pts >= self._first_pts):
            insort(self._times, packet.pts)

    def _may_drop(self, packet: Packet[Stream] | None) -> bool:
        if packet is None or packet.pts is None or not self._by_time:
            return False
        early = self._first_pts is not None and packet.pts < self._first_pts
        return early or bisect_left(self._times, packet.pts) % self._stride != 0

    def _tracks(self) -> list[Stream]:
        """The streams to read: all where only the latest of all tells whether the file is whole."""
        return list(self._container.streams) if self._is_matroska() else [self._stream]

    def _told_seconds(self) -> float:
        """How long the header says that the file lasts, 0 where it says nothing that can be relied on."""
        if self._is_matroska():
            return (self._container.duration or 0) / 1e6
        if self._stream.frames and self._stream.duration:
            return float((self._zero + self._stream.duration) * self._base)
        return 0.0

    def _is_matroska(self) -> bool:
        return "matroska" in self._container.format.name

    def _seconds(self, pts: int | None, otherwise: float) -> float:
        return otherwise if pts is None else float((pts - self._zero) * self._base)
