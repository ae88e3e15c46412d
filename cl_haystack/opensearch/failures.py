"""What opensearch-py raises, told in our errors: what was asked of which server, what it said, what to do.

Credentials never appear: addresses are shown without user information, and of a server's answer only the
reason of its root cause is quoted, cut to a readable length.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opensearchpy.exceptions import (
    ConnectionError as TransportConnectionError,
)
from opensearchpy.exceptions import (
    ConnectionTimeout,
    ImproperlyConfigured,
    OpenSearchException,
    SerializationError,
    SSLError,
    TransportError,
)

from cl_haystack.errors import CLHaystackError, ConfigurationError, IndexingError, ServerUnavailableError

TOO_MANY_REQUESTS = 429
_MAX_REASON_CHARS = 300
_EXPIRED = 10  # OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED
_OTHER_HOST = (62, 64)  # and …_HOSTNAME_MISMATCH, …_IP_ADDRESS_MISMATCH


@contextmanager
def opensearch_errors(url: str, index: str | None = None) -> Iterator[None]:
    """Turn every exception of opensearch-py inside the block into one of ours.

    :param url: the server's address, for the message.
    :param index: the index that was used, for the message.
    """
    try:
        yield
    except (OpenSearchException, ImproperlyConfigured) as error:
        raise translate(error, url, index) from error


def translate(error: Exception, url: str, index: str | None = None) -> CLHaystackError:
    """Return our error for one of opensearch-py's.

    :param error: what the client raised.
    :param url: the server's address, without credentials.
    :param index: the index that was used, if any.
    :returns: the error to raise ``from`` it.
    """
    if isinstance(error, TransportConnectionError):
        return ServerUnavailableError(url, _connection_problem(error))
    if isinstance(error, TransportError):
        return _status_problem(error, url, index)
    if isinstance(error, ImproperlyConfigured):
        return ConfigurationError(f"the OpenSearch client cannot be set up: {_cut(str(error))}")
    if isinstance(error, SerializationError):
        return IndexingError(
            f"OpenSearch at {url}: a request or an answer is not valid JSON; if something other than "
            "OpenSearch answers there, correct the address"
        )
    return IndexingError(f"OpenSearch at {url}: {_cut(str(error))}")


def for_now(url: str, problem: str) -> ServerUnavailableError:
    """Return an error that patience waits for, where the server failed in a part of its answer.

    :param url: the server's address, without credentials.
    :param problem: what it did not do.
    :returns: the error to raise.
    """
    error = ServerUnavailableError(url, problem)
    error.__cause__ = TransportError(503, problem, {})
    return error


def status_of(error: OpenSearchException) -> int | None:
    """Return the status that the server answered with; None where it did not answer."""
    status = error.status_code if isinstance(error, TransportError) else None
    return status if isinstance(status, int) else None


def is_busy(status: int) -> bool:
    """Return whether a status says that the same request may succeed later."""
    return status == TOO_MANY_REQUESTS or status >= 500


def may_heal(error: OpenSearchException) -> bool:
    """Return whether time may heal what happened: no answer, or one that says that the server is busy."""
    status = status_of(error)
    return status is None or is_busy(status)


def reason_of(error: TransportError) -> str:
    """Return the reason that the server gave, cut to a readable length."""
    return reason_in(error.info) or _cut(str(error.error))


def reason_in(answer: Any) -> str:
    """Return the innermost reason in an error of an OpenSearch answer, cut to a readable length."""
    cause = answer.get("error", answer) if isinstance(answer, dict) else answer
    if isinstance(cause, str):
        return _cut(cause)
    if not isinstance(cause, dict):
        return ""
    roots = cause.get("root_cause") or [{}]
    parts = [str(roots[0].get("reason") or cause.get("reason") or cause.get("type") or "")]
    inner = cause.get("caused_by")
    while isinstance(inner, dict):
        if (reason := str(inner.get("reason") or "")) and reason not in parts[-1]:
            parts.append(reason)
        inner = inner.get("caused_by")
    return _cut(": ".join(part for part in parts if part))


def is_missing_index(error: OpenSearchException) -> bool:
    """Return whether the server said that there is no such index."""
    return isinstance(error, TransportError) and "index_not_found" in str(error.error)


def is_blocked(error: BaseException | None) -> bool:
    """Return whether the server said that an index is blocked: by people, a re-embedding, or a full disk."""
    return isinstance(error, TransportError) and "cluster_block" in str(error.error)


def _connection_problem(error: TransportConnectionError) -> str:
    if isinstance(error, SSLError) or "SSL" in type(error.info).__name__ or "SSL" in str(error.error):
        return _tls_problem(error)
    if isinstance(error, ConnectionTimeout):
        return "no answer within the timeout (timeout_s); see what keeps it busy, or allow it more time"
    return (
        f"no connection ({_innermost(error.info) or _cut(str(error.error))}); start a local server with "
        "`cl-haystack opensearch start`, or give the address of yours with --url or OPENSEARCH_URL"
    )


def _tls_problem(error: TransportConnectionError) -> str:
    cause = _ssl_error(error.info)
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"the TLS connection failed ({_cut(str(cause or error.error))}); for a private certificate "
            "authority pass ca_certs, and check that the address begins with https:// only where the server "
            "speaks TLS"
        )
    if cause.verify_code == _EXPIRED:
        return "the server's certificate has expired; have it renewed"
    if cause.verify_code in _OTHER_HOST:
        return (
            f"the server's certificate is for another host ({_cut(cause.verify_message)}); use the name "
            "that it was issued for"
        )
    return (
        f"the server's certificate is not trusted ({_cut(cause.verify_message)}); for a private certificate "
        "authority pass ca_certs, or name its file in SSL_CERT_FILE"
    )


def _ssl_error(error: Any) -> ssl.SSLError | None:
    """Return the TLS library's own error behind urllib3's or aiohttp's, whose class claims to be it."""
    while isinstance(error, BaseException):
        if isinstance(error, ssl.SSLError) and type(error).__module__ == ssl.__name__:
            return error
        error = error.__cause__ or error.__context__
    return None


def _innermost(error: Any) -> str:
    while isinstance(error, BaseException):
        following = getattr(error, "reason", None) or error.__cause__
        if not isinstance(following, BaseException):
            return _cut(str(error).rpartition(": ")[2] or type(error).__name__)
        error = following
    return ""


def _status_problem(error: TransportError, url: str, index: str | None) -> CLHaystackError:
    status, reason = error.status_code, reason_of(error)
    where = f"index '{index}' at {url}" if index else f"OpenSearch at {url}"
    if status == 401:
        return ServerUnavailableError(
            url,
            "refused the user name or password (401); set OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD, or "
            "pass username and password",
        )
    if is_blocked(error):
        return IndexingError(f"{where} is blocked: {reason}; free disk space or lift the block, then repeat")
    if status == 403:
        return IndexingError(f"{where}: this user may not do that ({reason}); ask for the permission")
    if is_missing_index(error):
        return IndexingError(f"{where} does not exist; create it first, or correct the name")
    if isinstance(status, int) and is_busy(status):
        return ServerUnavailableError(url, f"answered {status}: {reason}; repeat when it is calm")
    if "too_many_clauses" in str(error.info) or "too_many_nested_clauses" in str(error.info):
        return IndexingError(f"{where}: the query has too many words ({reason}); shorten it")
    return IndexingError(f"{where} refused the request ({status}): {reason}")


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_REASON_CHARS else line[: _MAX_REASON_CHARS - 1] + "…"
