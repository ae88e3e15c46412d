"""How a hybrid search is set up: what is kept, and what is told."""

from typing import Any

import pytest

from cl_haystack.errors import ConfigurationError, IndexingError
from cl_haystack.opensearch.fusion import META_KEY, HybridSettings, Tuned


def test_what_is_told_takes_precedence_over_what_was_tuned() -> None:
    tuned = HybridSettings(weights=(0.2, 0.8), fusion="rrf", pagination_depth=50)
    assert tuned.with_given(None, None, None) == tuned
    assert tuned.with_given(None, None, 70).weights == (0.2, 0.8)
    told = tuned.with_given([0.3, 0.7], None, None)
    assert (told.weights, told.fusion, told.pagination_depth) == ((0.3, 0.7), "min_max", 15)
    assert tuned.with_given(None, "min_max", None).weights == (0.5, 0.5)
    with pytest.raises(ConfigurationError, match=r"'max'.*min_max, rrf"):
        tuned.with_given(None, "max", None)  # type: ignore[arg-type]


def test_kept_settings_are_read_as_they_were_written() -> None:
    settings = HybridSettings(
        weights=(0.35, 0.65),
        tuned=Tuned(dataset="d", queries=9, metric="ndcg@10", value=0.7, before=0.6),
    )
    stored = settings.stored()
    assert stored == {  # the format, as it is kept in indices
        "format_version": 1,
        "weights": [0.35, 0.65],
        "fusion": "min_max",
        "pagination_depth": 15,
        "tuned": {"dataset": "d", "queries": 9, "metric": "ndcg@10", "value": 0.7, "before": 0.6},
    }
    assert HybridSettings.read({"_meta": {META_KEY: stored}}, "i") == settings
    assert HybridSettings.read({}, "i") is None


@pytest.mark.parametrize("wrong", [{"format_version": 2}, {"weights": [0.9, 0.9]}, {"new": 1}, [], "x"])
def test_damaged_settings_name_the_index_and_the_way_out(wrong: Any) -> None:
    with pytest.raises(IndexingError, match=r"index 'i'.*cl-haystack tune"):
        HybridSettings.read({"_meta": {META_KEY: wrong}}, "i")
