"""How to reach OpenSearch: an address with credentials and TLS settings, or a client that somebody made.

Nothing is contacted before the first request. Clients made here differ from opensearch-py's defaults in
three points: a request ends after ``timeout_s`` (30 s), a failed request is not silently repeated (the bulk
writer repeats, and knows what that means), and bodies are JSON by orjson.
"""

import asyncio
import base64
import os
import threading
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import orjson
from haystack.utils import Secret
from opensearchpy import AsyncOpenSearch, OpenSearch
from opensearchpy.connection.http_async import AsyncHttpConnection
from opensearchpy.exceptions import SerializationError
from opensearchpy.serializer import JSONSerializer

from cl_haystack.errors import ConfigurationError
from cl_haystack.opensearch.retry_after import RetryAfterConnection

DEFAULT_URL = "http://127.0.0.1:9200"
URL_VARIABLE = "OPENSEARCH_URL"
DEFAULT_USERNAME = Secret.from_env_var("OPENSEARCH_USERNAME", strict=False)
DEFAULT_PASSWORD = Secret.from_env_var("OPENSEARCH_PASSWORD", strict=False)
DEFAULT_TIMEOUT_S = 30.0
_POOL_SIZE = 16
_JSON_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


class OrjsonSerializer(JSONSerializer):
    """JSON by orjson, with the conversions of opensearch-py's own serializer."""

    def dumps(self, data: Any) -> Any:
        """Return ``data`` as JSON bytes; text and bytes pass unchanged."""
        if isinstance(data, str | bytes):
            return data
        try:
            return orjson.dumps(data, default=self.default, option=_JSON_OPTIONS)
        except TypeError as error:
            raise SerializationError(str(error), error) from error

    def loads(self, s: str) -> Any:
        """Parse an answer; what orjson refuses (lone surrogates) goes to the standard library."""
        try:
            return orjson.loads(s)
        except ValueError:
            return super().loads(s)


class Connection:
    """One server's address and credentials, with a client for threads and one for each event loop.

    :param client_or_url: a ready opensearch-py client (used as it is, never closed here), or an address;
        None reads ``OPENSEARCH_URL``, else uses http://127.0.0.1:9200. Credentials may stand in the address.
    :param username: secret; by default ``OPENSEARCH_USERNAME``, where that is set.
    :param password: secret; by default ``OPENSEARCH_PASSWORD``, where that is set.
    :param ca_certs: file or folder with the certificates of the authority that signed the server's; None
        reads ``SSL_CERT_FILE`` or ``SSL_CERT_DIR``, else uses those of certifi.
    :param verify_certs: check the server's certificate.
    :param timeout_s: seconds that one request may take.
    :param async_client: ready asynchronous client, to go with a ready client. Without it, asynchronous
        methods run the ready client in a thread.
    """

    def __init__(
        self,
        client_or_url: OpenSearch | str | None = None,
        *,
        username: Secret | None = DEFAULT_USERNAME,
        password: Secret | None = DEFAULT_PASSWORD,
        ca_certs: str | Path | None = None,
        verify_certs: bool = True,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        async_client: AsyncOpenSearch | None = None,
    ) -> None:
        if not isinstance(client_or_url, OpenSearch | str | None):
            raise TypeError(
                f"client_or_url is a {type(client_or_url).__name__}, expected an address or an "
                "opensearchpy.OpenSearch"
            )
        if timeout_s <= 0:
            raise ConfigurationError(f"timeout_s is {timeout_s}, expected a number of seconds above 0")
        self._given_async_client = async_client
        self._given_client = client_or_url if isinstance(client_or_url, OpenSearch) else None
        self._url: str | None = None
        self._userinfo: tuple[str, str] | None = None
        if isinstance(client_or_url, str):
            self._url, self._userinfo = split_address(client_or_url)
        self._username, self._password = username, password
        self._ca_certs = None if ca_certs is None else str(ca_certs)
        self._verify_certs = verify_certs
        self._timeout_s = timeout_s
        self._client: OpenSearch | None = None
        self._async_clients: dict[asyncio.AbstractEventLoop, _AsyncClient] = {}
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The server's address without credentials, for messages."""
        if self._given_client is not None:
            host = (self._given_client.transport.hosts or [{}])[0]
            scheme = "https" if host.get("use_ssl") or host.get("scheme") == "https" else "http"
            return f"{scheme}://{host.get('host', 'localhost')}:{host.get('port', 9200)}"
        return self._address()[0]

    def client(self) -> OpenSearch:
        """Return the client for threads, made at the first call."""
        if self._given_client is not None:
            return self._given_client
        with self._lock:
            if self._client is None:
                self._client = OpenSearch(
                    **self._client_arguments(), connection_class=RetryAfterConnection, pool_maxsize=_POOL_SIZE
                )
            return self._client

    def async_client(self) -> AsyncOpenSearch | None:
        """Return the client of the running event loop; None where only a ready synchronous one was given."""
        if self._given_client is not None or self._given_async_client is not None:
            return self._given_async_client
        loop = asyncio.get_running_loop()
        with self._lock:
            self._drop_clients_of_closed_loops()
            if loop not in self._async_clients:
                self._async_clients[loop] = _AsyncClient(
                    AsyncOpenSearch(
                        **self._client_arguments(), connection_class=AsyncHttpConnection, maxsize=_POOL_SIZE
                    )
                )
            return self._async_clients[loop].client

    def close(self) -> None:
        """Close the client for threads; the next request opens a new one."""
        with self._lock:
            self._drop_clients_of_closed_loops()
            client, self._client = self._client, None
        if client is not None:
            client.close()

    async def close_async(self) -> None:
        """Close the client of the running event loop; the next request opens a new one."""
        with self._lock:
            self._drop_clients_of_closed_loops()
            held = self._async_clients.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held.close()

    def to_dict(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain types; secrets as names of environment variables.

        :returns: a dictionary for YAML.
        :raises ConfigurationError: there is something that must not, or cannot, be written down.
        """
        if self._given_client is not None or self._given_async_client is not None:
            raise ConfigurationError(
                "a ready OpenSearch client cannot be written to YAML; give the address and Secrets instead"
            )
        if self._userinfo is not None:
            raise ConfigurationError(
                "the OpenSearch address holds a password, which is not written to YAML; give the address "
                "without it, and username and password as Secret.from_env_var(…)"
            )
        try:
            username = None if self._username is None else self._username.to_dict()
            password = None if self._password is None else self._password.to_dict()
        except ValueError as error:
            raise ConfigurationError(
                "a password given as a token is not written to YAML; use Secret.from_env_var(…)"
            ) from error
        return {
            "url": self._url,
            "username": username,
            "password": password,
            "ca_certs": self._ca_certs,
            "verify_certs": self._verify_certs,
            "timeout_s": self._timeout_s,
        }

    def _address(self) -> tuple[str, tuple[str, str] | None]:
        if self._url is not None:
            return self._url, self._userinfo
        return split_address(os.environ.get(URL_VARIABLE) or DEFAULT_URL)

    def _client_arguments(self) -> dict[str, Any]:
        url, userinfo = self._address()
        if self._ca_certs is not None and not Path(self._ca_certs).exists():
            raise ConfigurationError(f"{self._ca_certs}: no such file or folder (ca_certs)")
        credentials = userinfo or self._secrets()
        return {
            "hosts": [url],
            # As a header, because the two connection classes of opensearch-py encode passwords as Latin-1.
            "headers": {} if credentials is None else {"authorization": _basic(*credentials)},
            "ca_certs": self._ca_certs,
            "verify_certs": self._verify_certs,
            "ssl_show_warn": False,
            "timeout": self._timeout_s,
            "max_retries": 0,
            "serializer": OrjsonSerializer(),
        }

    def _secrets(self) -> tuple[str, str] | None:
        username = self._username.resolve_value() if self._username is not None else None
        password = self._password.resolve_value() if self._password is not None else None
        if username and password:
            return username, password
        if username or password:
            missing = "password" if username else "username"
            raise ConfigurationError(
                f"the {missing} for OpenSearch is missing: set OPENSEARCH_{missing.upper()} or pass {missing}"
            )
        return None

    def _drop_clients_of_closed_loops(self) -> None:
        # They are closed, unless their loop was without shutdown_asyncgens(): then nothing of theirs can be
        # awaited any more, and whoever wants no ResourceWarning awaits close_async().
        for loop in [loop for loop in self._async_clients if loop.is_closed()]:
            del self._async_clients[loop]


class _AsyncClient:
    """A client of the running event loop, closed with it: nobody can await its closing later.

    A loop that ends as asyncio.run() ends it closes the asynchronous generators that were begun on it.

    :param client: the client.
    """

    def __init__(self, client: AsyncOpenSearch) -> None:
        self.client = client
        self._life = _open_until_closed(client)
        with suppress(StopIteration):  # how a step to the first yield ends
            self._life.asend(None).send(None)

    async def close(self) -> None:
        await self._life.aclose()


async def _open_until_closed(client: AsyncOpenSearch) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await client.close()


def split_address(url: str) -> tuple[str, tuple[str, str] | None]:
    """Take the credentials out of an address.

    :param url: such as ``https://user:secret@host:9200/prefix``.
    :returns: the address without them, and (user, password) if it held them.
    :raises ConfigurationError: this is no address of an HTTP server.
    """
    # Nothing of the address is quoted, nor is Python's error, which quotes it: it may hold a password.
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts = None
    if parts is None or "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise ConfigurationError(
            "the OpenSearch address cannot be read; write it like https://user:password@host:9200, with "
            "'/', '#', '?', '@', ':' and '[' in the password as %2F, %23, %3F, %40, %3A and %5B"
        )
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError(
            "the OpenSearch address has no scheme and host; write it like http://127.0.0.1:9200 or "
            "https://search.example.org"
        )
    netloc = f"[{host}]" if ":" in host else host
    clean = urlunsplit((parts.scheme, netloc if port is None else f"{netloc}:{port}", parts.path, "", ""))
    if parts.username is None:
        return clean, None
    return clean, (unquote(parts.username), unquote(parts.password or ""))


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
