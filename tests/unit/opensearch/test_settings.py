"""Settings of an index: what cannot work is refused before a server is asked, and by what it says."""

from typing import Any

import pytest

from cl_haystack.errors import ConfigurationError, ServerUnavailableError
from cl_haystack.opensearch.binding import IndexBinding
from cl_haystack.opensearch.capabilities import ServerCapabilities
from cl_haystack.opensearch.mapping import index_body
from cl_haystack.opensearch.settings import IndexSettings
from tests.opensearch_fakes import tiny_bundle

URL = "http://fake:9200"
KNN = "org.opensearch.knn.plugin.KNNPlugin"


class FakeServer:
    """Answers as a server does that cannot be had here: with native libraries, old, or without a plugin."""

    def __init__(self, number: str, *node_plugins: Any, distribution: str | None = "opensearch") -> None:
        self.version = {"number": number, "distribution": distribution}
        self.node_plugins = node_plugins
        self.nodes = self

    def info(self, metric: str | None = None, params: Any = None) -> Any:
        if metric is None:
            return {"version": self.version}
        return {"nodes": {str(at): {"plugins": plugins} for at, plugins in enumerate(self.node_plugins)}}


FULL = {"classname": KNN, "version": "3.6.0.0"}
EMBEDDED = {"classname": KNN, "version": "NA"}
OTHER = {"classname": "org.example.Other", "version": "1"}


def vector_field(settings: IndexSettings, server: ServerCapabilities) -> dict[str, Any]:
    body = index_body(IndexBinding.of(tiny_bundle()), settings, space_type="cosinesimil", server=server)
    field: dict[str, Any] = body["mappings"]["properties"]["embedding"]
    return field


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"colour": "red"}, "colour"),
        ({"engine": "nmslib"}, "'lucene' or 'faiss'"),
        ({"m": 1}, "m: .*greater than or equal to 2"),
        ({"m": 1000}, "m: .*512"),
        ({"ef_construction": 100_000}, "ef_construction"),
        ({"number_of_shards": 0}, "number_of_shards"),
        ({"engine": "lucene", "mode": "on_disk"}, "compression_level 4x, or engine faiss"),
        ({"engine": "lucene", "compression_level": "32x"}, "or engine faiss"),
        ({"engine": "faiss", "compression_level": "4x"}, "or engine lucene"),
        ({"mode": "on_disk", "compression_level": "1x"}, "cannot do without compression"),
        ({"encoder": "sq", "compression_level": "4x"}, "one of them"),
        ({"fields": {"embedding": {"type": "float"}}}, "take it out"),
        ({"analyzer": "english", "fields": {"content": {"type": "text"}}}, "one of them"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        IndexSettings.of(settings)


@pytest.mark.parametrize(
    ("settings", "engine"),
    [
        ({}, "lucene"),
        ({"compression_level": "4x"}, "lucene"),
        ({"mode": "on_disk", "compression_level": "4x"}, "lucene"),
        ({"mode": "on_disk"}, "faiss"),
        ({"compression_level": "16x"}, "faiss"),
        ({"engine": "faiss"}, "faiss"),
    ],
)
def test_the_engine_follows_from_what_is_asked_for(settings: dict[str, Any], engine: str) -> None:
    assert IndexSettings.of(settings).chosen_engine == engine


def test_a_space_type_that_ranks_otherwise_is_refused() -> None:
    settings = IndexSettings(space_type="l2")
    assert settings.space_type_for(tiny_bundle()) == "l2"  # unit vectors: all rank alike
    assert IndexSettings().space_type_for(tiny_bundle(similarity="dot")) == "innerproduct"
    with pytest.raises(ConfigurationError, match="use innerproduct"):
        settings.space_type_for(tiny_bundle(similarity="dot", normalize=False))


def test_quantization_is_said_as_engine_and_version_understand_it() -> None:
    lucene, faiss = IndexSettings(encoder="sq"), IndexSettings(encoder="sq", engine="faiss")
    old, new = ServerCapabilities((2, 19)), ServerCapabilities((3, 6))
    for server in (old, new):
        assert vector_field(lucene, server)["method"]["parameters"]["encoder"]["parameters"] == {"bits": 7}
    assert vector_field(faiss, old)["method"]["parameters"]["encoder"]["parameters"] == {"type": "fp16"}
    assert vector_field(faiss, new)["method"]["parameters"]["encoder"]["parameters"] == {"bits": 16}


def test_a_server_is_judged_by_its_plugins() -> None:
    asks = ServerCapabilities.ask
    assert asks(FakeServer("3.6.0", [OTHER, FULL]), URL) == ServerCapabilities((3, 6), True, True)
    assert asks(FakeServer("2.19.6", [EMBEDDED]), URL) == ServerCapabilities((2, 19), True, False)
    assert asks(FakeServer("3.6.0", [FULL], [OTHER]), URL) == ServerCapabilities((3, 6), False, False)
    assert asks(FakeServer("3.6.0"), URL) == ServerCapabilities((3, 6))
    with pytest.raises(ServerUnavailableError, match=r"version 2\.11, expected 2\.19"):
        asks(FakeServer("2.11.0", [FULL]), URL)
    with pytest.raises(ServerUnavailableError, match="not OpenSearch"):
        asks(FakeServer("8.17.0", [], distribution=None), URL)


def test_only_what_a_server_cannot_do_is_refused() -> None:
    faiss = IndexSettings(mode="on_disk")
    ServerCapabilities((3, 6), True, True).check(faiss, URL)
    ServerCapabilities().check(faiss, URL)  # one that may not be asked decides itself
    with pytest.raises(ConfigurationError, match="native"):
        ServerCapabilities((3, 6), True, False).check(faiss, URL)
    with pytest.raises(ConfigurationError, match="no k-NN plugin"):
        ServerCapabilities((3, 6), False, False).check(IndexSettings(), URL)
