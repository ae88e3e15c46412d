"""An index that exists: what it was made with is not what somebody asks for now, and that is said."""

from typing import Any

import pytest

from cl_haystack.bundle import ModelBundle
from cl_haystack.errors import IndexingError
from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.opensearch.binding import IndexBinding
from cl_haystack.opensearch.content_hash import HASH_FIELD
from cl_haystack.opensearch.fusion import HybridSettings
from cl_haystack.opensearch.mapping import index_body, unmet_settings
from cl_haystack.opensearch.settings import IndexSettings
from tests.opensearch_fakes import tiny_bundle


def made_with(given: dict[str, Any], bundle: ModelBundle | None = None) -> dict[str, Any]:
    """Return what the server says of an index that was made with these settings."""
    settings, bundle = IndexSettings.of(given), bundle or tiny_bundle()
    binding = IndexBinding.of(bundle, None, settings.data_type)
    body = index_body(binding, settings, space_type=settings.space_type_for(bundle))
    shards = str(settings.number_of_shards or 1)
    return {"settings": {"index": {"number_of_shards": shards}}, "mappings": body["mappings"]}


class Server:
    """One index, and how often it was asked for its settings. Also its own client."""

    def __init__(self, index: OpenSearchIndex, existing: dict[str, Any]) -> None:
        index.connection.client = lambda: self  # type: ignore[method-assign, assignment, return-value]
        self.indices, self.existing, self.asked = self, existing, 0

    def get_mapping(self, index: str, ignore: Any = ()) -> dict[str, Any]:
        return {index: self.existing}

    def put_mapping(self, index: str, body: dict[str, Any]) -> None:
        mapping = self.existing["mappings"]
        mapping["properties"] |= body.get("properties", {})
        mapping["_meta"] = body.get("_meta", mapping.get("_meta", {}))

    def get(self, index: str) -> dict[str, Any]:
        self.asked += 1
        return {index: self.existing}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"engine": "faiss", "m": 32, "ef_construction": 64, "number_of_shards": 3},
        {"analyzer": "english", "fields": {"year": {"type": "integer"}, "parts": {"properties": {}}}},
        {"mode": "on_disk"},
        {"mode": "on_disk", "compression_level": "8x"},
        {"compression_level": "4x"},
        {"encoder": "sq"},
        {"data_type": "binary"},
        {"space_type": "l2"},
    ],
)
def test_what_an_index_was_made_with_is_met(given: dict[str, Any]) -> None:
    assert unmet_settings(IndexSettings.of(given), made_with(given)) == {}
    assert unmet_settings(IndexSettings(), made_with(given)) == {}


def test_what_the_server_takes_by_itself_is_met() -> None:
    stated = {
        "m": 16,
        "ef_construction": 100,
        "analyzer": "standard",
        "mode": "in_memory",
        "data_type": "float",
    }
    assert unmet_settings(IndexSettings.of({**stated, "number_of_shards": 1}), made_with({})) == {}
    asked = IndexSettings(mode="on_disk", compression_level="32x")
    assert unmet_settings(asked, made_with({"mode": "on_disk"})) == {}


def test_every_setting_that_an_index_lacks_is_named() -> None:
    asked = IndexSettings(data_type="byte", number_of_shards=3, m=32, fields={"year": {"type": "integer"}})
    assert unmet_settings(asked, made_with({})) == {
        "data_type": ("byte", "float"),
        "number_of_shards": (3, 1),
        "m": (32, 16),
        "fields.year": ("integer", None),
    }


def test_an_index_that_exists_says_once_what_it_was_not_made_with(caplog: pytest.LogCaptureFixture) -> None:
    index = OpenSearchIndex(None, "docs", tiny_bundle(), settings={"number_of_shards": 3, "m": 32})
    Server(index, made_with({}))
    index.ensure()
    assert "'docs' exists, and stays as it was made: m is 16, not 32, number_of_shards is 1" in caplog.text
    caplog.clear()
    index.ensure()
    assert caplog.text == ""


def test_nobody_is_asked_where_nothing_was_chosen(caplog: pytest.LogCaptureFixture) -> None:
    index = OpenSearchIndex(None, "docs", tiny_bundle(), settings={"ef_search": 50})
    server = Server(index, made_with({"m": 32}))
    index.ensure()
    assert (server.asked, caplog.text) == (0, "")


def test_an_index_without_binding_that_ranks_otherwise_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    existing = made_with({"space_type": "l2"})
    del existing["mappings"]["_meta"]
    dot = tiny_bundle(similarity="dot", normalize=False)
    index = OpenSearchIndex(None, "docs", dot, require_binding=False)
    Server(index, existing)
    index.check(fresh=True)
    assert "'docs': space_type l2 ranks otherwise than" in caplog.text
    caplog.clear()
    index.check(fresh=True)
    unit_vectors = OpenSearchIndex(None, "docs", tiny_bundle(), require_binding=False)
    Server(unit_vectors, existing)
    unit_vectors.check(fresh=True)
    assert caplog.text == ""


def test_an_adopted_index_keeps_hashes_from_then_on() -> None:
    stock = made_with({})
    del stock["mappings"]["_meta"], stock["mappings"]["properties"][HASH_FIELD]
    index = OpenSearchIndex(None, "docs", tiny_bundle())
    Server(index, stock)
    index.bind("docs")
    assert index.keeps_hashes
    stock["mappings"]["properties"][HASH_FIELD] = {"type": "text"}  # somebody's own field of that name
    index.bind("docs")
    assert stock["mappings"]["properties"][HASH_FIELD] == {"type": "text"}


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"space_type": "l2"}, r"space types \(cosinesimil, l2\)"),
        ({"data_type": "byte"}, r"data types \(byte, float\)"),
    ],
)
def test_an_alias_whose_indices_compare_vectors_otherwise_is_refused(
    given: dict[str, Any], what: str
) -> None:
    index = OpenSearchIndex("http://127.0.0.1:1", "both", tiny_bundle())
    server = Server(index, {})
    first, second = ({"mappings": made_with(settings)["mappings"]} for settings in ({}, given))
    server.get_mapping = lambda **_: {"a": first, "b": second}  # type: ignore[method-assign]
    with pytest.raises(IndexingError, match=f"'both' leads to vectors of several {what}"):
        index.search([1.0] * 8)


class ForgetfulServer(Server):
    """After each of the first updates a shard puts back the ``_meta`` that it knew before."""

    def __init__(self, index: OpenSearchIndex, existing: dict[str, Any], times: int) -> None:
        super().__init__(index, existing)
        self.times = times

    def put_mapping(self, index: str, body: dict[str, Any]) -> None:
        before = self.existing["mappings"]["_meta"]
        super().put_mapping(index, body)
        if self.times:
            self.times -= 1
            self.existing["mappings"]["_meta"] = before


def test_hybrid_settings_that_a_mapping_update_overwrites_are_written_again() -> None:
    index = OpenSearchIndex("http://127.0.0.1:1", "docs", tiny_bundle())
    settings = HybridSettings(weights=(0.3, 0.7))
    ForgetfulServer(index, made_with({}), times=2)
    index.keep_hybrid_settings(settings)
    assert index.hybrid_settings() == settings
    assert index.open() is not None  # the binding is there, too
    ForgetfulServer(index, made_with({}), times=1000)
    with pytest.raises(IndexingError, match="others change its mapping all the time"):
        index.keep_hybrid_settings(settings)
