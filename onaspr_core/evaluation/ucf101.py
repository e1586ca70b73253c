"""UCF101's test list, and the prompt of each of its 101 classes.

`ucf101_prompts.csv` holds PYoCo's prompts as ConsistI2V prints them (appendix B.1). A prompt stands for each
video of its class, so that the classes are as frequent as in the list.
"""

import csv
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from onaspr_core.errors import UserError
from onaspr_core.evaluation.list_files import Captioned, read_list
from onaspr_core.evaluation.published import how_to_get

_LINE = re.compile(r"(?P<class>[A-Za-z]+)/(?P<id>v_[A-Za-z]+_g\d+_c\d+)\.avi")


@cache
def class_prompts() -> dict[str, str]:
    """Return the prompt of each class, by the name of its folder, in the order of `classInd.txt`."""
    with files("onaspr_core.evaluation").joinpath("ucf101_prompts.csv").open(encoding="utf-8") as file:
        return {row["class"]: row["prompt"] for row in csv.DictReader(file)}


def ucf101_test(path: str) -> Iterator[Captioned]:
    """Yield the videos of `testlist01.txt`, each with its class's prompt and its class as an attribute.

    Raises:
        UserError: when the file cannot be read, or a line names no video of a known class.
    """
    prompts = class_prompts()
    text = read_list(path, "ucf101").decode("utf-8-sig", "replace")
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None or found["class"] not in prompts:
            raise UserError(
                f"{path}, line {number}: {line.strip()[:80]!r} is no line of UCF101's testlist01.txt, such "
                f"as Archery/v_Archery_g01_c01.avi; {how_to_get('ucf101')}"
            )
        yield Captioned(found["id"], (prompts[found["class"]],), found[0], {"class": found["class"]})
