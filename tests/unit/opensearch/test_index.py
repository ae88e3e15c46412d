"""OpenSearchIndex without a server: values, and the written form."""

from pathlib import Path
from typing import Any

import pytest
from haystack.utils import Secret
from opensearchpy import OpenSearch

from cl_haystack.errors import BundleError, ConfigurationError, IndexingError
from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.opensearch.binding import IndexBinding
from cl_haystack.opensearch.mapping import index_body, nested_fields, vector_dimension
from cl_haystack.opensearch.settings import IndexSettings, SpaceType
from tests.opensearch_fakes import as_checked, tiny_bundle


@pytest.mark.parametrize("name", ["", "Docs", "a b", "a*", "_x", "-x", "a/b", "a,b", None, "a#b", "a:b"])
def test_impossible_names_are_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="no name for an index"):
        OpenSearchIndex(None, name, tiny_bundle())


def test_the_constructor_touches_neither_files_nor_servers() -> None:
    index = OpenSearchIndex("http://127.0.0.1:1", "docs", "/no/bundle")
    with pytest.raises(BundleError):
        _ = index.bundle
    with pytest.raises(TypeError, match="bundle is a int"):
        OpenSearchIndex(None, "docs", 5)  # type: ignore[arg-type]


def test_written_and_read_again_it_is_the_same() -> None:
    index = OpenSearchIndex(
        "http://host:9200",
        "docs",
        Path("/models/bundle"),
        username=Secret.from_env_var("U"),
        password=None,
        ca_certs="/ca.pem",
        verify_certs=False,
        timeout_s=5,
        settings={"m": 8, "number_of_shards": 2, "fields": {"year": {"type": "integer"}}, "ef_search": None},
        require_binding=False,
    )
    written = index.to_dict()
    assert written["bundle"] == "/models/bundle"
    assert "type" not in written  # Haystack would try to import it
    assert OpenSearchIndex.from_dict(written).to_dict() == written
    defaults = OpenSearchIndex.from_dict({"name": "docs", "bundle": "b"})
    assert defaults.to_dict() == OpenSearchIndex(None, "docs", "b").to_dict()


def test_a_wrong_description_is_refused_with_the_entry() -> None:
    with pytest.raises(ConfigurationError, match="no entry 'bundle'"):
        OpenSearchIndex.from_dict({"name": "docs"})
    with pytest.raises(ConfigurationError, match="colour"):
        OpenSearchIndex.from_dict({"name": "docs", "bundle": "b", "colour": "red"})
    with pytest.raises(ConfigurationError, match="ready OpenSearch client"):
        OpenSearchIndex(OpenSearch(), "docs", "b").to_dict()


def test_a_wrong_query_vector_is_refused_before_it_is_sent() -> None:
    index = as_checked(OpenSearchIndex("http://127.0.0.1:1", "docs", tiny_bundle(4)))
    with pytest.raises(IndexingError, match=r"shape \(3,\), expected \(4,\)"):
        index.search([1.0, 2.0, 3.0])
    with pytest.raises(IndexingError, match="NaN"):
        index.search([1.0, 2.0, 3.0, float("nan")])


@pytest.mark.parametrize(("similarity", "space_type"), [("cosine", "cosinesimil"), ("dot", "innerproduct")])
def test_the_mapping_is_the_stock_stores_with_a_binding(similarity: str, space_type: SpaceType) -> None:
    binding = IndexBinding.of(tiny_bundle(similarity=similarity))
    body = index_body(
        binding,
        IndexSettings(
            m=8, number_of_shards=2, fields={"year": {"type": "integer"}, "parts": {"type": "nested"}}
        ),
        space_type=space_type,
    )
    assert body["settings"] == {"index.knn": True, "number_of_shards": 2}
    properties = body["mappings"]["properties"]
    assert properties["embedding"]["method"] == {
        "name": "hnsw",
        "engine": "lucene",
        "space_type": space_type,
        "parameters": {"m": 8},
    }
    assert properties["content"] == {"type": "text"}
    assert properties["year"] == {"type": "integer"}
    assert body["mappings"]["dynamic_templates"][0]["strings"]["mapping"] == {"type": "keyword"}
    assert IndexBinding.read(body["mappings"], "docs") == binding
    assert vector_dimension(body["mappings"]) == 8
    assert nested_fields(body["mappings"]) == {"parts"}
    assert vector_dimension({}) is None
