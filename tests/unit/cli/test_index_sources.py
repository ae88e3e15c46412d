"""What of another server's address may be seen."""

import pytest

from cl_haystack.cli.index_sources import open_source
from cl_haystack.errors import ConfigurationError
from tests.opensearch_fakes import WordEncoder, tiny_bundle


@pytest.mark.parametrize("given", ["https://me:12/S3cr3t#x@host/docs", "https://me:S3cr3t@host:9200"])
def test_a_password_in_the_address_of_an_index_is_never_quoted(given: str) -> None:
    source = open_source(
        WordEncoder(tiny_bundle()),  # type: ignore[arg-type]
        corpus=None,
        from_index=given,
        url=None,
        keep_vectors=False,
        keep_broken_lines=False,
    )
    with pytest.raises(ConfigurationError) as caught:
        source.__enter__()
    assert "S3cr3t" not in str(caught.value)
