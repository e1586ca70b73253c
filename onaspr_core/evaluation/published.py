"""What is known of the benchmarks that others publish: how many items they have, and where to get them.

Nothing is downloaded. What does not belong here: reading their files (`list_files`, `ucf101`).
"""

from collections.abc import Mapping
from typing import NamedTuple


class Published(NamedTuple):
    """A published benchmark: its name, how many items it has, what those are, and how to get them."""

    name: str
    items: int
    what: str
    get: str


PUBLISHED: Mapping[str, Published] = {
    "msr-vtt": Published(
        "MSR-VTT test",
        2990,
        "videos",
        "MSR-VTT's publishers ship test_videodatainfo.json and the folder of video7010.mp4 … video9999.mp4; "
        "see docs/benchmarks.md",
    ),
    "ucf101": Published(
        "UCF101 test",
        3783,
        "videos",
        "https://www.crcv.ucf.edu/data/UCF101.php has testlist01.txt in "
        "UCF101TrainTestSplits-RecognitionTask.zip, and the class folders in UCF101.rar",
    ),
    "coco": Published(
        "MS-COCO val2014",
        5000,
        "images",
        "https://cocodataset.org/#download has captions_val2014.json in annotations_trainval2014.zip, and "
        "the images in val2014.zip",
    ),
    "flickr30k": Published(
        "Flickr30k test",
        1000,
        "images",
        "https://shannon.cs.illinois.edu/DenotationGraph lends the images and results_20130124.token on "
        "request; https://cs.stanford.edu/people/karpathy/deepimagesent has dataset_flickr30k.json",
    ),
}
"""By form. `items` is what the paper's protocol measures on: of MS-COCO a choice, of the others all."""

FLICKR30K_IMAGES = 31_783
"""Images of `results_20130124.token`, which knows no split."""


def how_to_get(form: object) -> str:
    """Return where the files of a form come from; empty for a list of the user's own."""
    return PUBLISHED[form].get if isinstance(form, str) and form in PUBLISHED else ""
