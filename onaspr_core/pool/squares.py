"""Frames to upright squares of one size, through a filter graph of libav.

The crop is the centre of what a player shows: pixels that are not square count as wide as they are. Frames
stay in YCbCr from decoder to encoder, under the matrix they came with, so nothing is lost to RGB and back.
Scaling is Lanczos, whose kernel libav widens when it shrinks: closest of its filters to Pillow's Lanczos, at
the price of bicubic. What does not belong here: which frames there are (`onaspr_core.media.decoding`).
"""

from typing import NamedTuple

import av
from av.filter import Graph

from onaspr_core.media.decoding import Orientation, Picture

_SCALING = "lanczos+accurate_rnd+bitexact"

_RGB, _SMPTE170M = 0, 6
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt470", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}
"""Matrices that a frame may keep, by libav's AVColorSpace; any other is taken for that of SMPTE 170M."""

_LIMITED, _FULL = 1, 2


class _Kind(NamedTuple):
    """What a graph is made for."""

    width: int
    height: int
    format: str
    matrix: int
    range: int
    crop: tuple[int, int, int, int]
    orientation: Orientation


class Squarer:
    """Turns the pictures of a file into yuv420p squares of limited range.

    A graph is made for the first picture, and again where the file changes its size or format.
    """

    def __init__(self, resolution: int) -> None:
        """Squares will have `resolution` × `resolution` pixels; it is even."""
        self._resolution = resolution
        self._kind: _Kind | None = None
        self._graph = Graph()

    def __call__(self, picture: Picture) -> av.VideoFrame:
        """Return the square; its `colorspace` tells the matrix that it is to be shown with."""
        kind = _kind_of(picture)
        if kind != self._kind:
            self._graph, self._kind = _graph(kind, self._resolution), kind
        self._graph.vpush(picture.frame)
        square = self._graph.vpull()
        # What the source's encoder decided must not bind the next one.
        square.pict_type = 0
        return square


def _kind_of(picture: Picture) -> _Kind:
    frame = picture.frame
    if frame.format.is_rgb:
        matrix, range_ = _RGB, _FULL
    else:
        matrix = frame.colorspace if frame.colorspace in _MATRICES else _SMPTE170M
        full = frame.color_range == _FULL or frame.format.name.startswith("yuvj")
        range_ = _FULL if full else _LIMITED
    crop = _centre(frame.width, frame.height, float(picture.sample_aspect))
    return _Kind(frame.width, frame.height, frame.format.name, matrix, range_, crop, picture.orientation)


def _centre(width: int, height: int, aspect: float) -> tuple[int, int, int, int]:
    """Width, height, left and top of the part that is shown as the central square.

    Left and top are even, where colour of half resolution has its pixels too.
    """
    side = min(width * aspect, height)
    inner_width = min(width, max(1, round(side / aspect)))
    inner_height = max(1, round(side))
    return inner_width, inner_height, (width - inner_width) // 4 * 2, (height - inner_height) // 4 * 2


def _graph(kind: _Kind, resolution: int) -> Graph:
    matrix = _MATRICES[_SMPTE170M if kind.matrix == _RGB else kind.matrix]
    crop_width, crop_height, left, top = kind.crop
    graph = Graph()
    graph.threads = 1
    nodes = [
        graph.add(
            "buffer",
            f"video_size={kind.width}x{kind.height}:pix_fmt={kind.format}:time_base=1/1000"
            f":colorspace={kind.matrix}:range={kind.range}",
        ),
        graph.add("crop", f"w={crop_width}:h={crop_height}:x={left}:y={top}:exact=1"),
        graph.add(
            "scale",
            f"w={resolution}:h={resolution}:flags={_SCALING}:out_color_matrix={matrix}:out_range=limited",
        ),
        graph.add("format", "pix_fmts=yuv420p"),
    ]
    if kind.orientation.swapped:
        nodes.append(graph.add("transpose", "dir=cclock_flip"))
    if kind.orientation.mirrored:
        nodes.append(graph.add("hflip"))
    if kind.orientation.upside_down:
        nodes.append(graph.add("vflip"))
    graph.link_nodes(*nodes, graph.add("buffersink"))
    graph.configure()
    return graph
