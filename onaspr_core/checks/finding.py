"""What a check returns, and the words that all checks share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NAMED = 3


@dataclass(frozen=True)
class Finding:
    """What a check found: whether all is well, and in one sentence what, where, and what to do.

    `facts` are the figures behind it, by name. `rows` are the single cases, the worst first, each with as
    many texts as `header`.
    """

    passed: bool
    summary: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def every(what: str, total: int, problems: Sequence[tuple[str, str]], remedy: str, **facts: Any) -> Finding:
    """Find that all of a number of things are in order, or which are not.

    Args:
        what: What each of them is when it is in order, such as "prompts have a video".
        total: How many there are.
        problems: Name and reason of each that is not.
        remedy: What to do about them.
        facts: Further figures.
    """
    facts = {"looked_at": total, "in_order": total - len(problems), **facts}
    if not problems:
        return Finding(True, f"all {total} {what}", facts)
    return Finding(
        False,
        f"{total - len(problems)} of {total} {what}, all but {listed([name for name, _ in problems])} "
        f"({problems[0][1]}); {remedy}",
        facts,
        ("which", "what is wrong"),
        tuple(problems),
    )


def listed(names: Sequence[str]) -> str:
    """Name the first three, and say how many there are besides."""
    shown = ", ".join(names[:NAMED])
    return f"{shown} and {len(names) - NAMED} more" if len(names) > NAMED else shown


def percent(share: float) -> str:
    """A share, 0 … 1, as people read it."""
    return f"{100 * share:.3g} %"
