"""Filters and thresholds as a person writes them on the command line."""

from typing import Any

import pytest
import typer

from cl_haystack.cli.search_options import parse_filters, parse_threshold

LANG = {"field": "meta.lang", "operator": "==", "value": "en"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("meta.lang == en", ("meta.lang", "==", "en")),
        ("meta.lang==no", ("meta.lang", "==", "no")),  # Norwegian, not false
        ("meta.year >= 2020", ("meta.year", ">=", 2020)),
        ('meta.code == "2020"', ("meta.code", "==", "2020")),
        ("meta.draft != true", ("meta.draft", "!=", True)),
        ("meta.day > 2024-05-01", ("meta.day", ">", "2024-05-01")),
        ("meta.title == a > b in c", ("meta.title", "==", "a > b in c")),
        ("meta.lang in en, de", ("meta.lang", "in", ["en", "de"])),
        ("meta.year not  in [2020,2021]", ("meta.year", "not in", [2020, 2021])),
        ('{"field": "meta.lang", "operator": "==", "value": "en"}', ("meta.lang", "==", "en")),
    ],
)
def test_one_condition(text: str, expected: tuple[str, str, Any]) -> None:
    assert parse_filters([text]) == dict(zip(("field", "operator", "value"), expected, strict=True))


def test_several_must_all_hold() -> None:
    assert parse_filters([]) is None
    either = '{"operator": "OR", "conditions": [{"field": "meta.a", "operator": "==", "value": 1}]}'
    both = parse_filters(["meta.lang == en", either])
    assert both is not None
    assert both["operator"] == "AND"
    assert both["conditions"][0] == LANG
    assert both["conditions"][1]["operator"] == "OR"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("meta.lang = en", "'meta.year >= 2020'"),
        ("meta.lang", "Haystack filters as JSON"),
        ("meta.lang ==", "Haystack filters as JSON"),
        ('{"field": ', "Expecting value"),
        ('{"field": "meta.a", "operator": "=", "value": 1}', "unknown filter operator"),
        ('{"field": "meta.a"}', "'operator' key missing"),
        ("meta.a > [1]", r"\[1\]"),
    ],
)
def test_what_cannot_be_read_is_told_with_an_example(text: str, message: str) -> None:
    with pytest.raises(typer.BadParameter, match=message) as caught:
        parse_filters([text])
    assert repr(text) in str(caught.value)


def test_a_threshold_is_a_number_or_a_name() -> None:
    assert (parse_threshold("0.95"), parse_threshold("duplicate")) == (0.95, "duplicate")
