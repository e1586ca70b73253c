"""Small benchmarks in the exact form of their publishers' files, with media of a few pixels."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image

from onaspr_core.media.video import Frames, encode_mp4

UCF101_LIST = (
    "Archery/v_Archery_g01_c01.avi",
    "Archery/v_Archery_g01_c02.avi",
    "HandstandPushups/v_HandStandPushups_g01_c01.avi",
    "YoYo/v_YoYo_g07_c04.avi",
)


def frames_of(seed: int, count: int = 12) -> Frames:
    """Frames uint8 (count, 16, 16, 3) of one flat colour each."""
    colours = np.random.default_rng(seed).integers(0, 256, (count, 1, 1, 3))
    return np.broadcast_to(colours, (count, 16, 16, 3)).astype(np.uint8)


def msr_vtt(first: int, count: int, split: str = "test", captions: int = 20) -> dict[str, object]:
    """What `test_videodatainfo.json` holds, of videos from number `first` on."""
    numbers = range(first, first + count)
    return {
        "info": {"contributor": "Microsoft MSM group", "year": "2016", "version": "1.0"},
        "videos": [
            {
                "category": 9,
                "url": "https://example.invalid",
                "video_id": f"video{i}",
                "start time": 1.5,
                "end time": 14.0,
                "split": split,
                "id": i,
            }
            for i in numbers
        ],
        "sentences": [
            {"caption": f"video {i} told  in words {n}", "video_id": f"video{i}", "sen_id": i * captions + n}
            for n in range(captions)
            for i in numbers
        ],
    }


def write_msr_vtt(folder: Path, first: int = 7010, count: int = 4) -> Path:
    """Write the list and `videos/videoN.mp4`; return the list."""
    (folder / "videos").mkdir(parents=True)
    for i in range(first, first + count):
        (folder / f"videos/video{i}.mp4").write_bytes(encode_mp4(frames_of(i), 8))
    return write_json(folder / "test_videodatainfo.json", msr_vtt(first, count))


def write_ucf101(folder: Path, lines: Sequence[str] = UCF101_LIST) -> Path:
    """Write the list and `UCF-101/CLASS/v_….avi`, MPEG-4 in AVI as published; return the list."""
    for seed, line in enumerate(lines):
        file = folder / "UCF-101" / line
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_avi(frames_of(seed)))
    path = folder / "testlist01.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def coco(count: int) -> dict[str, object]:
    """What `captions_val2014.json` holds, of `count` images with five captions each."""
    numbers = [42 + 7 * i for i in range(count)]
    return {
        "info": {"description": "COCO 2014 Dataset", "year": 2014},
        "images": [
            {"license": 3, "file_name": f"COCO_val2014_{i:012d}.jpg", "height": 480, "width": 640, "id": i}
            for i in numbers
        ],
        "licenses": [{"id": 3, "name": "Attribution-NonCommercial-NoDerivs License"}],
        "annotations": [
            {"image_id": i, "id": i * 10 + n, "caption": f"Image {i} in words {n}.\n"}
            for n in range(5)
            for i in numbers
        ],
    }


def write_coco(folder: Path, count: int = 6) -> Path:
    """Write the list and `val2014/COCO_val2014_….jpg`; return the list."""
    (folder / "val2014").mkdir(parents=True)
    for i in range(count):
        (folder / f"val2014/COCO_val2014_{42 + 7 * i:012d}.jpg").write_bytes(jpeg(i))
    return write_json(folder / "captions_val2014.json", coco(count))


def flickr30k(splits: Mapping[str, str]) -> dict[str, object]:
    """What Karpathy's `dataset_flickr30k.json` holds: images by name, each with its split."""
    images = [
        {
            "sentids": [5 * i + n for n in range(5)],
            "imgid": i,
            "sentences": [
                {"tokens": ["a"], "raw": f"{name} in words {n}.", "imgid": i, "sentid": 5 * i + n}
                for n in range(5)
            ],
            "split": split,
            "filename": name,
        }
        for i, (name, split) in enumerate(splits.items())
    ]
    return {"images": images, "dataset": "flickr30k"}


def write_json(path: Path, value: object) -> Path:
    """Write a value as JSON and return its file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def jpeg(seed: int) -> bytes:
    """A JPEG of 16 × 16 pixels."""
    data = io.BytesIO()
    Image.fromarray(frames_of(seed, 1)[0]).save(data, "JPEG")
    return data.getvalue()


def _avi(frames: Frames) -> bytes:
    data = io.BytesIO()
    with av.open(data, "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return data.getvalue()
