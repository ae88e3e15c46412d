"""What the verbs that search are told in words: filters, and thresholds as numbers or by name."""

import json
import re
from collections.abc import Sequence
from typing import Any

import typer

_SYMBOLS = ("==", "!=", ">=", "<=", ">", "<")
_CONDITION = re.compile(r"\s*(\S+?)\s*(==|!=|>=|<=|>|<|\s(?:not\s+)?in\s)\s*(.*\S)\s*", re.DOTALL)
_FORMS = (
    "expected 'meta.FIELD OPERATOR VALUE', such as 'meta.year >= 2020' or 'meta.lang in en, de' (operators: "
    f"{' '.join(_SYMBOLS)} in, not in), or Haystack filters as JSON"
)


def parse_filters(given: Sequence[str]) -> dict[str, Any] | None:
    """Return Haystack filters that hold where all the given ones do.

    :param given: each ``FIELD OPERATOR VALUE`` or Haystack filters as JSON. A value is JSON (``2020``,
        ``true``, ``"2020"``) where it can be read as such, else text; those of ``in`` stand between commas.
    :returns: the filters; None where none are given.
    :raises typer.BadParameter: one cannot be read.
    """
    conditions = [_parse(text) for text in given]
    if len(conditions) < 2:
        return conditions[0] if conditions else None
    return {"operator": "AND", "conditions": conditions}


def parse_threshold(text: str) -> float | str:
    """Return a threshold: the number, or the name of one that the bundle was calibrated with."""
    try:
        return float(text)
    except ValueError:
        return text


def _parse(text: str) -> dict[str, Any]:
    from haystack.errors import FilterError

    from cl_haystack.opensearch.queries import filter_clause

    try:
        filters = json.loads(text) if text.lstrip().startswith("{") else _condition(text)
        filter_clause(filters, frozenset())
    except (ValueError, FilterError) as error:
        raise typer.BadParameter(f"{text!r}: {error}", param_hint="--filters") from error
    return filters


def _condition(text: str) -> dict[str, Any]:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ValueError(_FORMS)
    field, operator, value = match.groups()
    operator = " ".join(operator.split())
    if operator in _SYMBOLS:
        return {"field": field, "operator": operator, "value": _value(value)}
    listed = value.removeprefix("[").removesuffix("]").split(",")
    return {"field": field, "operator": operator, "value": [_value(one.strip()) for one in listed]}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
