"""The types that settings are made of: a table that is strict about its keys, and numbers with bounds.

What does not belong here: any setting (`onaspr_core.settings`, `onaspr_core.pool.settings`).
"""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
NAME_RULE = "letters, digits, '.', '_' and '-', beginning with a letter or digit"


def finite(value: float) -> float:
    """Refuse infinities and NaN."""
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


def not_nan(value: float) -> float:
    """Refuse NaN."""
    if math.isnan(value):
        raise ValueError("must be a number, not NaN; allowed is 0 … inf")
    return value


def batch_size(value: Any) -> int | Literal["auto"]:
    """Refuse what is neither a count nor "auto"."""
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        size: int | Literal["auto"] = value
        return size
    raise ValueError('must be a whole number from 1 on, or "auto"')


def rising(bounds: tuple[float, float]) -> tuple[float, float]:
    """Refuse an upper bound below the lower one."""
    if bounds[0] > bounds[1]:
        raise ValueError("must be [low, high] with low not above high")
    return bounds


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse a value that stands twice."""
    twice = [value for place, value in enumerate(values) if value in values[:place]]
    if twice:
        raise ValueError(f"must be different values; {twice[0]!r} stands twice")
    return values


Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Count = Annotated[int, Field(ge=1)]
BatchSize = Annotated[int | Literal["auto"], PlainValidator(batch_size)]
Fraction = Annotated[float, Field(ge=0, le=1), AfterValidator(finite)]
Positive = Annotated[float, Field(gt=0), AfterValidator(finite)]
Cosine = Annotated[float, Field(ge=-1, le=1), AfterValidator(finite)]
Gate = Annotated[tuple[Cosine, Cosine], Field(strict=False), AfterValidator(rising)]
"""Two cosines, low and high; a TOML array of two numbers."""


class Section(BaseModel):
    """A table of the settings file: unknown keys are refused and nothing changes after reading.

    As JSON it comes back as it was, an infinite eta as `Infinity`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="constants")
