"""The index that takes another one's place: its name."""

from cl_haystack.bundle.fingerprint import SHORT_ID_CHARS
from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.opensearch.reembedding.successor import successor_name
from tests.opensearch_fakes import tiny_bundle


def test_a_successor_is_named_after_its_model_and_never_like_the_index_in_use() -> None:
    first = f"articles-{'b' * SHORT_ID_CHARS}"
    index = OpenSearchIndex(None, "articles", tiny_bundle())
    assert successor_name(index, "somewhere") == first
    assert successor_name(index, first) == f"{first}-again"
    assert successor_name(index, f"{first}-again") == first
    bundle = tiny_bundle(matryoshka_dimensions=(4,))
    cut = OpenSearchIndex(None, "articles", bundle, settings={"truncate_dim": 4})
    assert successor_name(cut, first) == f"{first}-4"
    assert successor_name(cut, f"{first}-4") == f"{first}-4-again"
