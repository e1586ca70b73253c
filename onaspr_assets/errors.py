"""What a person can mend, as Dagster shows it: a sentence, no retry, no chain of stack traces."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from onaspr_core.errors import PlainError


@contextmanager
def told_to_people() -> Iterator[None]:
    """Turn a `PlainError` into a failure of the step that says the same. Other errors pass as they are."""
    try:
        yield
    except PlainError as problem:
        raise dg.Failure(description=str(problem), allow_retries=False) from None
