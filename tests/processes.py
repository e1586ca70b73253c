"""Other Python processes, which find this project from any folder."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from onaspr_core.addresses import PRIVATE_NETWORKS


def environment_now() -> dict[str, str]:
    """Return the variables of this process as they are now, and the way to this project."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a folder, and return how it ended and what it said."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment_now(),
        capture_output=True,
        text=True,
        check=False,
    )


def run_with_hub(code: str, endpoint: str, home: Path, lines: Iterable[str]) -> list[Any]:
    """Run code that reads lines and answers each with one of JSON; its hub of models is at `endpoint`."""
    hub = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1",
        PRIVATE_NETWORKS: "127.0.0.1",
    }
    finished = subprocess.run(
        [sys.executable, "-c", code],
        input="\n".join(lines),
        env={**environment_now(), **hub},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return [json.loads(line) for line in finished.stdout.splitlines()]
