"""Every exception of opensearch-py arrives as one of ours, with the cause and without secrets."""

import ssl

import pytest
from opensearchpy import exceptions

from cl_haystack.errors import CLHaystackError, IndexingError, ServerUnavailableError
from cl_haystack.opensearch.failures import opensearch_errors, reason_in, translate

URL = "http://server:9200"


def instances() -> list[Exception]:
    made: list[Exception] = []
    for name in exceptions.__all__:
        kind = getattr(exceptions, name)
        if not issubclass(kind, exceptions.OpenSearchException | exceptions.ImproperlyConfigured):
            continue
        arguments = (
            (503, "reason", {"error": "x"}) if issubclass(kind, exceptions.TransportError) else ("wrong",)
        )
        made.append(kind(*arguments))
    return made


@pytest.mark.parametrize("error", instances(), ids=lambda error: type(error).__name__)
def test_every_exception_is_translated(error: Exception) -> None:
    with pytest.raises(CLHaystackError) as caught, opensearch_errors(URL, "docs"):
        raise error
    assert caught.value.__cause__ is error


def test_there_are_exceptions_to_translate() -> None:
    assert len(instances()) > 8


def test_other_exceptions_pass() -> None:
    with pytest.raises(ZeroDivisionError), opensearch_errors(URL):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (exceptions.ConnectionTimeout("TIMEOUT", "x", TimeoutError()), ServerUnavailableError, "timeout"),
        (
            exceptions.SSLError("N/A", "certificate verify failed", ssl.SSLError()),
            ServerUnavailableError,
            "ca_certs",
        ),
        (exceptions.AuthenticationException(401, "Unauthorized", ""), ServerUnavailableError, "user name"),
        (exceptions.AuthorizationException(403, "security", "no permissions"), IndexingError, "permission"),
        (
            exceptions.AuthorizationException(403, "cluster_block_exception", {}),
            IndexingError,
            "blocked",
        ),
        (exceptions.NotFoundError(404, "index_not_found_exception", {}), IndexingError, "does not exist"),
        (exceptions.TransportError(429, "busy", {"error": "full"}), ServerUnavailableError, "429: full"),
        (
            exceptions.RequestError(
                400,
                "search_phase_execution_exception",
                {"error": {"root_cause": [{"reason": "Query vector has invalid dimension: 3"}]}},
            ),
            IndexingError,
            "invalid dimension: 3",
        ),
    ],
)
def test_the_message_says_what_happened_where(error: Exception, kind: type[Exception], words: str) -> None:
    ours = translate(error, URL, "docs")
    assert isinstance(ours, kind)
    assert words in str(ours)
    assert URL in str(ours)


def test_reasons_are_found_at_any_depth_and_cut() -> None:
    answer = {
        "error": {
            "type": "mapper_parsing_exception",
            "reason": "failed to parse field",
            "caused_by": {"reason": "For input string: x", "caused_by": {"type": "t"}},
        }
    }
    assert reason_in(answer) == "failed to parse field: For input string: x"
    assert reason_in({"error": "plain"}) == "plain"
    assert reason_in(None) == ""
    assert len(reason_in({"error": "x" * 10_000})) <= 300
