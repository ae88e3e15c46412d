"""What a server may write into Retry-After, and how long is waited."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from opensearchpy.exceptions import TransportError

from cl_haystack.opensearch.retry_after import MAX_PAUSE_S, pause_asked_for


def error(value: str | None) -> TransportError:
    found = TransportError(429, "busy", {})
    found.retry_after = value  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("86400", MAX_PAUSE_S),
        ("-1", 0),
        ("inf", MAX_PAUSE_S),
        ("nan", 0),
        ("soon", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00", 0),
        ("", 0),
        (None, 0),
    ],
)
def test_whatever_is_asked_for_ends(value: str | None, seconds: float) -> None:
    assert pause_asked_for(error(value)) == seconds


def test_a_date_is_a_pause_until_then() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=30)
    assert 28 < pause_asked_for(error(format_datetime(soon, usegmt=True))) <= 30


def test_other_errors_ask_for_nothing() -> None:
    assert pause_asked_for(None) == pause_asked_for(ValueError()) == 0
