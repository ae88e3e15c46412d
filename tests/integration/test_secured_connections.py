"""TLS, passwords and servers that hang: it works, or says what is wrong in time, and keeps every secret."""

import asyncio
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from haystack import Document
from haystack.utils import Secret

from cl_haystack.errors import ServerUnavailableError
from cl_haystack.opensearch import OpenSearchIndex, index_documents
from tests.opensearch_fakes import WordEncoder, as_checked, tiny_bundle
from tests.tls_proxy import PASSWORD, USER, tls_proxy

pytestmark = pytest.mark.integration

VECTOR = [1.0] * 8
TIMEOUT_S = 3.0


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return file


@pytest.fixture(scope="module")
def secured_url(authority: trustme.CA, opensearch_url: str) -> Iterator[str]:
    with tls_proxy(opensearch_url, authority.issue_cert("127.0.0.1")) as url:
        yield url


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> dict[str, Secret]:
    monkeypatch.setenv("TEST_OPENSEARCH_USER", USER)
    monkeypatch.setenv("TEST_OPENSEARCH_PASSWORD", PASSWORD)
    return {
        "username": Secret.from_env_var("TEST_OPENSEARCH_USER"),
        "password": Secret.from_env_var("TEST_OPENSEARCH_PASSWORD"),
    }


def failure(url: str, **options: Any) -> str:
    """Return what both clients say of a server, and check that they say it in time and keep the password."""
    messages = []

    async def search(index: OpenSearchIndex) -> None:
        try:
            await as_checked(index).search_async(VECTOR)
        finally:
            await index.close_async()

    for use in (lambda index: index.ensure(), lambda index: asyncio.run(search(index))):
        index = OpenSearchIndex(url, "docs", tiny_bundle(), timeout_s=TIMEOUT_S, **options)
        started = time.monotonic()
        with pytest.raises(ServerUnavailableError) as caught:
            use(index)
        assert time.monotonic() - started < TIMEOUT_S + 2
        index.close()
        error: BaseException | None = caught.value
        while error is not None:
            assert PASSWORD not in f"{error} {error!r}"
            error = error.__cause__ or error.__context__
        messages.append(str(caught.value))
    assert messages[0] == messages[1]  # both clients, one message
    return messages[0]


def test_a_private_authority_and_a_password_work_and_leave_no_trace(
    secured_url: str,
    ca_file: Path,
    index_name: str,
    secrets: dict[str, Secret],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    index = OpenSearchIndex(secured_url, index_name, tiny_bundle(), ca_certs=ca_file, **secrets)  # type: ignore[arg-type]
    report = index_documents([Document(content="x")], index, WordEncoder(tiny_bundle()))
    assert [document.content for document in index.search(VECTOR)] == ["x"]

    async def search() -> list[Document]:
        try:
            return await index.search_async(VECTOR)
        finally:
            await index.close_async()

    assert len(asyncio.run(search())) == 1
    index.close()
    again = OpenSearchIndex.from_dict(index.to_dict())
    assert again.count() == 1
    again.close()
    encoded = "b3BlcmF0b3I6"  # how "operator:" begins in the header
    shown = (
        f"{report!r} {report.to_dict()} {index!r} {index.to_dict()} {vars(index.connection)} {caplog.text}"
    )
    assert PASSWORD not in shown
    assert encoded not in shown


def test_a_wrong_password_is_said(secured_url: str, ca_file: Path, secrets: dict[str, Secret]) -> None:
    wrong = {**secrets, "password": Secret.from_token(f"not {PASSWORD}")}
    assert "refused the user name or password (401)" in failure(secured_url, ca_certs=ca_file, **wrong)


def test_an_unknown_authority_is_said_and_can_be_overridden(
    secured_url: str, secrets: dict[str, Secret]
) -> None:
    said = failure(secured_url, **secrets)
    assert "is not trusted" in said
    assert "ca_certs" in said
    index = OpenSearchIndex(secured_url, "docs", tiny_bundle(), verify_certs=False, **secrets)  # type: ignore[arg-type]
    assert not index.exists()
    index.close()


def test_an_expired_certificate_is_said(
    authority: trustme.CA, ca_file: Path, opensearch_url: str, secrets: dict[str, Secret]
) -> None:
    expired = authority.issue_cert(
        "127.0.0.1", not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=datetime(2021, 1, 1, tzinfo=UTC)
    )
    with tls_proxy(opensearch_url, expired) as url:
        assert "has expired" in failure(url, ca_certs=ca_file, **secrets)


def test_a_certificate_of_another_host_is_said(
    authority: trustme.CA, ca_file: Path, opensearch_url: str, secrets: dict[str, Secret]
) -> None:
    with tls_proxy(opensearch_url, authority.issue_cert("search.example.org")) as url:
        assert "is for another host" in failure(url, ca_certs=ca_file, **secrets)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_hangs_is_said_in_time(scheme: str, ca_file: Path, secrets: dict[str, Secret]) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"{scheme}://127.0.0.1:{listening.getsockname()[1]}"
        assert "no answer within the timeout" in failure(url, ca_certs=ca_file, **secrets)


def test_https_to_a_server_without_tls_is_said(opensearch_url: str) -> None:
    assert "https:// only where the server speaks TLS" in failure(opensearch_url.replace("http:", "https:"))


def test_the_command_line_finds_the_authority_and_shows_no_password(
    secured_url: str, ca_file: Path, index_name: str, tmp_path: Path
) -> None:
    script = (
        "import sys; from cl_haystack.opensearch import OpenSearchIndex; from tests.opensearch_fakes import "
        "tiny_bundle; OpenSearchIndex(None, sys.argv[1], tiny_bundle()).open()"
    )
    environment = {
        "PATH": "/usr/bin",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OPENSEARCH_URL": secured_url.replace("https://", f"https://{USER}:s3cr3t%3Aw%C3%B6rt@"),
        "SSL_CERT_FILE": str(ca_file),
    }
    done = subprocess.run(
        [sys.executable, "-c", script, index_name],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"index '{index_name}' does not exist at {secured_url}" in done.stderr
    for secret in (PASSWORD, "s3cr3t%3A"):
        assert secret not in done.stdout + done.stderr
