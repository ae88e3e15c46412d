"""How long a busy server asks to be left alone: the header ``Retry-After`` of a 429 or 503.

opensearch-py drops the headers of an answer that it turns into an exception, so a connection of ours keeps
this one (https://github.com/opensearch-project/opensearch-py, 3.2). A ready client of the user's does not.
"""

import math
import threading
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from opensearchpy import Urllib3HttpConnection
from opensearchpy.exceptions import TransportError

MAX_PAUSE_S = 60.0  # a server, or what stands before it, may ask for hours


class RetryAfterConnection(Urllib3HttpConnection):
    """The usual connection, whose errors know what the server asked for: ``error.retry_after``."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._answer = threading.local()  # threads share the connection

    def get_response_headers(self, response: Any) -> Any:
        """Return the headers of an answer; looked at just before its error is raised."""
        headers = super().get_response_headers(response)
        self._answer.retry_after = headers.get("retry-after")
        return headers

    def _raise_error(self, *arguments: Any, **options: Any) -> Any:
        try:
            super()._raise_error(*arguments, **options)
        except TransportError as error:
            error.retry_after = self._answer.retry_after  # type: ignore[attr-defined]
            raise


def pause_asked_for(error: BaseException | None) -> float:
    """Return how many seconds the server asked to wait, at most ``MAX_PAUSE_S``.

    :param error: what opensearch-py raised.
    :returns: seconds; 0 where it did not ask, or nothing that can be understood.
    """
    value = getattr(error, "retry_after", None)
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):  # no date, or one without a time zone
            return 0.0
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), MAX_PAUSE_S)
