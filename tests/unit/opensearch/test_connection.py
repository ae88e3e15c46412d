"""Addresses, credentials and what of them may be seen."""

import asyncio
import base64
from typing import Any

import pytest
from haystack.utils import Secret
from hypothesis import given
from hypothesis import strategies as st
from opensearchpy import AsyncOpenSearch, OpenSearch

from cl_haystack.errors import ConfigurationError
from cl_haystack.opensearch.connection import Connection, OrjsonSerializer, split_address

SECRET = "pa:ss@wört"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENSEARCH_URL", "OPENSEARCH_USERNAME", "OPENSEARCH_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def authorization(connection: Connection) -> str | None:
    header = connection.client().transport.connection_pool.get_connection().headers.get("authorization")
    connection.close()
    return None if header is None else base64.b64decode(header.removeprefix("Basic ")).decode()


def test_the_address_comes_from_the_argument_the_environment_or_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Connection().url == "http://127.0.0.1:9200"
    late = Connection()
    monkeypatch.setenv("OPENSEARCH_URL", "https://env:x@search.example:9243/prefix")
    assert late.url == "https://search.example:9243/prefix"  # read when used, so a YAML may leave it open
    assert Connection("http://given:1").url == "http://given:1"


def test_credentials_in_the_address_are_used_and_never_shown() -> None:
    connection = Connection("https://me:pa%3Ass%40w%C3%B6rt@host:9200/x")
    assert connection.url == "https://host:9200/x"
    assert authorization(connection) == f"me:{SECRET}"
    with pytest.raises(ConfigurationError) as caught:
        connection.to_dict()
    assert "pa" not in str(caught.value).replace("password", "").replace("OpenSearch", "")


def test_credentials_come_from_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    assert authorization(Connection("http://host")) is None
    monkeypatch.setenv("OPENSEARCH_USERNAME", "me")
    with pytest.raises(ConfigurationError, match="OPENSEARCH_PASSWORD"):
        Connection("http://host").client()
    monkeypatch.setenv("OPENSEARCH_PASSWORD", SECRET)
    assert authorization(Connection("http://host")) == f"me:{SECRET}"
    assert authorization(Connection("http://other:pw@host")) == "other:pw"


def test_the_written_form_names_variables_and_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", SECRET)
    connection = Connection("http://host", username=None, password=Secret.from_env_var("PW"))
    written = connection.to_dict()
    assert written["password"] == {"type": "env_var", "env_vars": ["PW"], "strict": True}
    assert SECRET not in str(written)
    with pytest.raises(ConfigurationError, match="from_env_var"):
        Connection("http://host", password=Secret.from_token(SECRET)).to_dict()


@pytest.mark.parametrize("url", ["localhost:9200", "", "ftp://x", "http://", "http://host:port", "//host"])
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="address"):
        Connection(url)


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1))
def test_a_refused_address_is_not_quoted(password: str) -> None:
    marked = f"S3cr3t{password}"
    with pytest.raises(ConfigurationError) as caught:
        split_address(f"me:{marked}@host:9200")
    assert marked not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "https://me:S3cr3t#1@host:9200",
        "https://me:S3cr3t/1@host:9200",
        "https://me:S3cr3t?1@host:9200",
        "https://me:1234#S3cr3t@host",
        "https://me:12/S3cr3t@host",
        "https://me:12?S3cr3t@host",
        "https://me:S3cr[et@host",
        "https://me:S3cr\uff1at@host:9200",  # a colon of full width, which Python refuses
    ],
)
def test_a_password_that_is_not_percent_encoded_is_refused_and_nowhere_in_the_error(address: str) -> None:
    with pytest.raises(ConfigurationError, match="%23") as caught:
        split_address(address)
    error: BaseException | None = caught.value
    while error is not None:
        assert "S3cr" not in str(error)
        error = error.__context__


def test_a_ready_client_is_used_and_left_open() -> None:
    client = OpenSearch(hosts=["http://host:9211"])
    connection = Connection(client)
    assert connection.client() is client
    assert connection.url == "http://host:9211"
    connection.close()
    assert client.transport.connection_pool.get_connection().pool is not None
    with pytest.raises(ConfigurationError, match="ready OpenSearch client"):
        connection.to_dict()
    client.close()


def test_wrong_values_are_refused_in_the_constructor() -> None:
    with pytest.raises(TypeError, match="int"):
        Connection(5)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="timeout_s"):
        Connection(timeout_s=0)


def test_missing_certificates_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"/no/ca\.pem"):
        Connection("https://host", ca_certs="/no/ca.pem").client()


def test_requests_have_a_timeout_and_no_silent_repetition() -> None:
    connection = Connection("http://host", timeout_s=7)
    client = connection.client()
    assert client.transport.connection_pool.get_connection().timeout == 7
    assert client.transport.max_retries == 0
    assert connection.client() is client
    connection.close()
    assert connection.client() is not client
    connection.close()


def test_every_event_loop_has_its_own_client() -> None:
    connection = Connection("http://host")

    async def client_twice() -> tuple[Any, Any]:
        pair = connection.async_client(), connection.async_client()
        await connection.close_async()
        return pair

    first, same = asyncio.run(client_twice())
    other, _ = asyncio.run(client_twice())
    assert first is same
    assert first is not other


def test_an_event_loop_that_ends_closes_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[AsyncOpenSearch] = []

    async def close(client: AsyncOpenSearch) -> None:
        await asyncio.sleep(0)
        closed.append(client)

    monkeypatch.setattr(AsyncOpenSearch, "close", close)
    connection = Connection("http://host")

    async def client(*, closes: bool) -> Any:
        made = connection.async_client()
        if closes:
            await connection.close_async()
        return made

    left_open, closed_here = asyncio.run(client(closes=False)), asyncio.run(client(closes=True))
    assert closed == [left_open, closed_here]
    asyncio.run(client(closes=False))
    assert connection._async_clients
    connection.close()
    assert not connection._async_clients


def test_the_serializer_reads_what_it_writes() -> None:
    serializer = OrjsonSerializer()
    assert serializer.loads(serializer.dumps({"a": [1, 2.5, None, "ü"], 3: True}).decode()) == {
        "a": [1, 2.5, None, "ü"],
        "3": True,
    }
    assert serializer.dumps(b"raw") == b"raw"
    assert serializer.loads('{"a": "\\ud800"}') == {"a": "\ud800"}
