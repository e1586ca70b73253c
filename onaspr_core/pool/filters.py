"""Filters on the columns of a source, as SQL: names are quoted and checked, values are parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

from onaspr_core.errors import UserError
from onaspr_core.pool.settings import Condition, Scalar


def compile_filter(conditions: Sequence[Condition], values: Mapping[str, str]) -> tuple[str, list[Any]]:
    """Return the SQL that is true of rows that meet all conditions, and its parameters.

    Args:
        conditions: May be empty.
        values: The SQL of each column that there is.

    Raises:
        UserError: when a condition names a column that does not exist; it names those that do.
    """
    clauses: list[str] = []
    parameters: list[Any] = []
    for condition in conditions:
        if condition.column not in values:
            raise UserError(
                f"filter: there is no column {condition.column!r}; found {', '.join(values) or 'none'}"
            )
        clause, own = _compile(condition, values[condition.column])
        clauses.append(f"coalesce({clause}, false)")
        parameters += own
    return " and ".join(clauses) or "true", parameters


def _compile(condition: Condition, value: str) -> tuple[str, list[Any]]:
    number, text = f"as_number({value})", f"cast({value} as varchar)"
    if condition.equals is not None:
        return f"{_comparable(condition.equals, value)} = ?", [condition.equals]
    if condition.differs_from is not None:
        return f"{_comparable(condition.differs_from, value)} <> ?", [condition.differs_from]
    if condition.at_least is not None:
        return f"{number} >= ?", [condition.at_least]
    if condition.at_most is not None:
        return f"{number} <= ?", [condition.at_most]
    if condition.between is not None:
        return f"{number} between ? and ?", list(condition.between)
    if condition.one_of is not None:
        each = [f"{_comparable(one, value)} = ?" for one in condition.one_of]
        return f"({' or '.join(each) or 'false'})", list(condition.one_of)
    return f"(coalesce({text}, '') <> '') = ?", [condition.known]


def _comparable(given: Scalar, value: str) -> str:
    """The SQL of a column's value as one of the kind of a given value."""
    if isinstance(given, bool):
        return f"try_cast({value} as boolean)"
    return f"cast({value} as varchar)" if isinstance(given, str) else f"as_number({value})"
