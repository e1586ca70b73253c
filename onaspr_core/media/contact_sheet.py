"""Contact sheets: videos as rows of frames in one PNG, for the UI and for a first look.

Frames come in as arrays; nothing is read or decoded here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from onaspr_core.errors import UserError
from onaspr_core.media.images import png_bytes
from onaspr_core.media.video import Frames

PAPER, INK, FAINT = (250, 250, 248), (34, 38, 46), (120, 126, 136)
_GAP, _MARGIN, _TEXT, _LINE = 2, 12, 13, 17
_OF_VIDEOS, _OF_PICTURES = (2, 64), (4, 256)
"""Columns, and the height of a frame in pixels."""


def contact_sheet(
    videos: Sequence[Frames],
    labels: Sequence[str],
    columns: int | None = None,
    *,
    frames_per_video: int = 8,
    tile: int | None = None,
) -> bytes:
    """Lay out videos, uint8 (F, H, W, 3), as captioned strips of frames; PNG bytes, equal for equal input.

    Each video is a strip of at most `frames_per_video` frames spread evenly over it, `columns` strips
    side by side. Frames become `tile` pixels high: small ones are enlarged by a whole factor with nearest
    neighbour so that every pixel is seen, large ones are reduced. Labels are cut to the strip's width.
    Left out, these are 2 and 64; where all have one frame, 4 and 256, which makes a sheet as wide.
    Raises UserError without videos or with another number of labels.
    """
    usual_columns, usual_tile = _OF_PICTURES if all(len(v) == 1 for v in videos) else _OF_VIDEOS
    columns = usual_columns if columns is None else columns
    if not videos or len(videos) != len(labels) or columns < 1:
        raise UserError(
            f"A contact sheet needs videos and one label each, not {len(videos)} and {len(labels)}."
        )
    strips = [_strip(video, frames_per_video, usual_tile if tile is None else tile) for video in videos]
    width, height = max(s.width for s in strips), max(s.height for s in strips) + _LINE
    columns = min(columns, len(strips))
    rows = -(-len(strips) // columns)
    sheet = Image.new(
        "RGB",
        (columns * (width + _MARGIN) + _MARGIN, rows * (height + _MARGIN) + _MARGIN),
        PAPER,
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=_TEXT)
    for i, (strip, label) in enumerate(zip(strips, labels, strict=True)):
        x = _MARGIN + (i % columns) * (width + _MARGIN)
        y = _MARGIN + (i // columns) * (height + _MARGIN)
        draw.text((x, y), fit_text(draw, label, font, width), fill=INK, font=font)
        sheet.paste(strip, (x, y + _LINE))
    return png_bytes(sheet)


def fit_text(
    draw: ImageDraw.ImageDraw,
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: float,
) -> str:
    """The text, cut with an ellipsis where it is wider than `width` pixels; one line."""
    line = " ".join(text.split())
    if draw.textlength(line, font=font) <= width:
        return line
    while line and draw.textlength(line + "…", font=font) > width:
        line = line[:-1]
    return line.rstrip() + "…"


def enlarge(frame: Frames, height: int) -> Image.Image:
    """One frame about `height` pixels high: nearest neighbour by a whole factor up, Lanczos down."""
    image = Image.fromarray(frame)
    if image.height <= height:
        factor = height // image.height
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    width = max(1, round(image.width * height / image.height))
    return image.resize((width, height), Image.Resampling.LANCZOS)


def spread(frames: Frames, count: int) -> Frames:
    """At most `count` frames of a video, first to last, evenly spread."""
    chosen = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    some: Frames = frames[chosen]
    return some


def _strip(video: Frames, count: int, tile: int) -> Image.Image:
    tiles = [enlarge(frame, tile) for frame in spread(video, count)]
    width = sum(one.width + _GAP for one in tiles) - _GAP
    strip = Image.new("RGB", (width, tiles[0].height), PAPER)
    x = 0
    for one in tiles:
        strip.paste(one, (x, 0))
        x += one.width + _GAP
    return strip
