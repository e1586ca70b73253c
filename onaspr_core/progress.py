"""Progress of long work, as log lines.

Lines go through the logger `onaspr`, so a terminal, a test and Dagster's event log all see the same text.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger("onaspr")

SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def track(label: str, total: int, before: int = 0) -> Iterator[Callable[[int], None]]:
    """Yield `advance(n)`, which logs how far the work is at most every five seconds, and at its end.

    Args:
        label: What is being done, such as "inverted latents".
        total: Number of items in all.
        before: How many of them an earlier run has done; no time is counted for them.
    """
    started = last = time.monotonic()
    done = before

    def advance(n: int = 1) -> None:
        nonlocal done, last
        done += n
        now = time.monotonic()
        if done < total and now - last < SECONDS_BETWEEN_LINES:
            return
        last = now
        each = (now - started) / max(done - before, 1)
        left = f", about {each * (total - done):.0f} s left" if done < total else ""
        logger.info("%s: %d of %d, %.3g s each%s", label, done, total, each, left)

    yield advance
