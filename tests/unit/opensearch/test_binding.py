"""The binding of an index to its model: the stored format, and what may meet."""

import json
from pathlib import Path

import pytest

import cl_haystack
from cl_haystack.errors import ConfigurationError, IndexingError, SpaceMismatchError
from cl_haystack.opensearch.binding import META_KEY, IndexBinding
from tests.opensearch_fakes import tiny_bundle

GOLDEN = Path(__file__).parents[2] / "golden" / "index_binding_v1.json"


def test_the_stored_format_is_the_golden_file() -> None:
    stored = IndexBinding.of(tiny_bundle()).stored()
    assert stored["created_by"] == f"cl-haystack {cl_haystack.__version__}"
    stored["created_by"] = "cl-haystack 0.1.0"
    assert json.dumps(stored, indent=2) + "\n" == GOLDEN.read_text(encoding="utf-8")


def test_the_golden_file_still_loads() -> None:
    mapping = {"_meta": {META_KEY: json.loads(GOLDEN.read_text(encoding="utf-8"))}}
    binding = IndexBinding.read(mapping, "docs")
    assert binding is not None
    assert binding.space_id == "a" * 32
    assert binding.text.query_prefix == "query: "
    binding.check(tiny_bundle(), "docs")


def test_another_space_is_refused_with_both_names_and_the_way_out() -> None:
    binding = IndexBinding.of(tiny_bundle(name="old-model"))
    with pytest.raises(SpaceMismatchError) as caught:
        binding.check(tiny_bundle(name="new-model", space="c"), "docs")
    message = str(caught.value)
    assert "'docs'" in message
    assert "old-model" in message
    assert "new-model" in message
    assert "re-embed" in message


def test_another_dimension_is_refused() -> None:
    with pytest.raises(SpaceMismatchError):
        IndexBinding.of(tiny_bundle(8)).check(tiny_bundle(16), "docs")


def test_another_truncation_is_refused_with_the_way_out() -> None:
    bundle = tiny_bundle(16, matryoshka_dimensions=(4, 8))
    whole, cut = IndexBinding.of(bundle), IndexBinding.of(bundle, 8)
    assert (cut.dimension, cut.truncated_from) == (8, 16)
    assert IndexBinding.read({"_meta": {META_KEY: cut.stored()}}, "docs") == cut
    assert IndexBinding.of(bundle, 16) == whole
    cut.check(bundle, "docs", 8)
    for truncate_dim in (None, 4):
        with pytest.raises(SpaceMismatchError, match=r"8 of 16 dimensions.*encoder with truncate_dim=8"):
            cut.check(bundle, "docs", truncate_dim)
    with pytest.raises(SpaceMismatchError, match=r"8 of 16 dimensions.*without truncate_dim=8"):
        whole.check(bundle, "docs", 8)
    with pytest.raises(ConfigurationError, match="one of 4, 8"):
        IndexBinding.of(bundle, 5)
    with pytest.raises(ConfigurationError, match="not trained"):
        IndexBinding.of(tiny_bundle(), 4)


def test_another_precision_is_allowed_and_recorded_once() -> None:
    binding = IndexBinding.of(tiny_bundle())
    int8 = tiny_bundle(fingerprint="d", precision="int8")
    binding.check(int8, "docs")
    assert not binding.knows(int8)
    both = binding.with_writer(int8)
    assert both.knows(int8)
    assert both.with_writer(int8) == both
    assert both.fingerprints == {"b" * 32: "fp32", "d" * 32: "int8"}
    assert (both.fingerprint, both.precision) == ("b" * 32, "fp32")


def test_an_index_without_a_binding_has_none() -> None:
    assert IndexBinding.read({}, "docs") is None
    assert IndexBinding.read({"_meta": {"other": 1}}, "docs") is None


def test_later_format_and_damage_are_told_apart() -> None:
    stored = IndexBinding.of(tiny_bundle()).model_dump(mode="json")
    with pytest.raises(IndexingError, match=r"format_version 2.*upgrade"):
        IndexBinding.read({"_meta": {META_KEY: {**stored, "format_version": 2}}}, "docs")
    with pytest.raises(IndexingError, match=r"'docs'.*damaged: field dimension"):
        IndexBinding.read({"_meta": {META_KEY: {**stored, "dimension": -1}}}, "docs")
    with pytest.raises(IndexingError, match="format_version None"):
        IndexBinding.read({"_meta": {META_KEY: "x"}}, "docs")
