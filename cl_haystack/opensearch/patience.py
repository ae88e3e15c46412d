"""How long a busy or absent server is waited for: pauses that grow, with jitter, up to a stated limit."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from opensearchpy.exceptions import OpenSearchException
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_delay,
    stop_any,
    stop_when_event_set,
    wait_random_exponential,
)
from tenacity.nap import sleep_using_event

from cl_haystack.errors import ServerUnavailableError
from cl_haystack.opensearch.failures import is_blocked, may_heal, status_of
from cl_haystack.opensearch.retry_after import pause_asked_for

logger = logging.getLogger(__name__)

DEFAULT_RETRY_FOR_S = 120.0
FIRST_PAUSE_S = 0.5  # at most; each pause is a random part of a span that doubles
LONGEST_PAUSE_S = 20.0

Answer = TypeVar("Answer")


class Patience:
    """Repeats requests that time may heal (connection, timeout, 429, 5xx); safe to share between threads.

    A server that says when to come back (``Retry-After``) is taken at its word, up to a minute.

    :param retry_for_s: how long one request is repeated before its error is raised.
    :param stop: set from another thread to give up at once.
    """

    def __init__(self, retry_for_s: float, stop: threading.Event) -> None:
        self.stop = stop
        self._retry_for_s = retry_for_s

    def __call__(self, request: Callable[[], Answer]) -> Answer:
        """Run a request until it succeeds; it must be one that may be repeated.

        :param request: raises our errors, from opensearch-py's.
        :returns: what it returns.
        :raises ServerUnavailableError: the server was busy or away for ``retry_for_s`` seconds.
        """
        return self.retrying(_healable)(request)

    def first_request(self, request: Callable[[], Answer]) -> Answer:
        """Run the first request of all: a busy server is waited for, an address that does not answer is not.

        :param request: raises our errors, from opensearch-py's.
        :returns: what it returns.
        :raises ServerUnavailableError: nothing answered, or the server was busy for ``retry_for_s`` seconds.
        """
        return self.retrying(lambda error: _healable(error) and _was_answered(error))(request)

    def through_blocks(self, request: Callable[[], Answer]) -> Answer:
        """Run a request until it succeeds, waiting also for an index to be unblocked (a full disk, people).

        :param request: raises our errors, from opensearch-py's.
        :returns: what it returns.
        :raises ServerUnavailableError: the server was busy or away for ``retry_for_s`` seconds.
        :raises IndexingError: the index was blocked for that long.
        """
        return self.retrying(lambda error: _healable(error) or is_blocked(error.__cause__))(request)

    def afresh(self, at_most_s: float) -> "Patience":
        """Return one that is not stopped, for what has to be put right after a failure.

        :param at_most_s: how long a request is repeated, where this one does not say less.
        :returns: the new one.
        """
        return Patience(min(self._retry_for_s, at_most_s), threading.Event())

    def retrying(self, healable: Callable[[BaseException], bool]) -> Retrying:
        """Return tenacity's loop with these limits.

        :param healable: says of an error whether to try again.
        :returns: a fresh loop.
        """
        return Retrying(
            retry=retry_if_exception(healable),
            stop=stop_any(stop_after_delay(self._retry_for_s), stop_when_event_set(self.stop)),
            wait=_pause,
            sleep=sleep_using_event(self.stop),
            before_sleep=_log_pause,
            reraise=True,
        )


def _healable(error: BaseException) -> bool:
    cause = error.__cause__
    return (
        isinstance(error, ServerUnavailableError)
        and isinstance(cause, OpenSearchException)
        and may_heal(cause)
    )


def _was_answered(error: BaseException) -> bool:
    cause = error.__cause__
    return isinstance(cause, OpenSearchException) and status_of(cause) is not None


def _pause(state: RetryCallState) -> float:
    """Return the next pause: random, within a span that grows, and as long as the server asks for."""
    own = wait_random_exponential(multiplier=FIRST_PAUSE_S, max=LONGEST_PAUSE_S)(state)
    error = state.outcome.exception() if state.outcome is not None else None
    return own + pause_asked_for(None if error is None else error.__cause__)


def _log_pause(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    logger.warning("request repeated (attempt %d): %s", state.attempt_number, error)
