"""The character cut changes no token; anything that is a string can be tokenized."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from cl_haystack.encoder.tokenization import TextTokenizer
from cl_haystack.errors import BundleError, ConfigurationError
from tests.tiny_model import make_tiny_encoder

MAX_LENGTH = 12


@pytest.fixture(scope="module")
def tokenizer_json(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_tiny_encoder(tmp_path_factory.mktemp("tiny")).tokenizer_json()


@pytest.fixture(scope="module")
def tokenizer(tokenizer_json: str) -> TextTokenizer:
    return TextTokenizer(Tokenizer.from_str(tokenizer_json), MAX_LENGTH)


def whole_text_ids(tokenizer_json: str, text: str) -> list[int]:
    """Tokenize without any cut, then truncate: the slow way, and the definition."""
    plain = Tokenizer.from_str(tokenizer_json)
    plain.no_padding()
    plain.enable_truncation(MAX_LENGTH)
    return list(plain.encode(text).ids)


words = st.sampled_from(
    ["the", "cat", "x" * 150, " ", "\n\n", "\t", "é", "日本", "a" * 40, "zq", "!?", "\u200b"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(words, min_size=1, max_size=300), st.sampled_from(["", " "]))
def test_cut_changes_no_token(
    tokenizer: TextTokenizer, tokenizer_json: str, words: list[str], space: str
) -> None:
    text = space.join(words)
    assert tokenizer.tokenize([text])[0].ids == whole_text_ids(tokenizer_json, text)


@pytest.mark.parametrize(
    "text",
    ["x" * 100_000, "\n" * 50_000 + "the cat", ("x" * 150 + " ") * 3_000, " ".join(["the cat"] * 50_000)],
)
def test_very_long_texts(tokenizer: TextTokenizer, tokenizer_json: str, text: str) -> None:
    assert tokenizer.tokenize([text])[0].ids == whole_text_ids(tokenizer_json, text)


def test_order_is_kept_when_some_texts_need_a_second_pass(
    tokenizer: TextTokenizer, tokenizer_json: str
) -> None:
    texts = ["the cat", "\n" * 5_000 + "red dog", "blue house", " ".join(["mat"] * 500)]
    found = [tokenized.ids for tokenized in tokenizer.tokenize(texts)]
    assert found == [whole_text_ids(tokenizer_json, text) for text in texts]
    assert len({tuple(ids) for ids in found}) == len(texts)


def test_prefix_is_part_of_the_text(tokenizer: TextTokenizer) -> None:
    (prefixed,) = tokenizer.tokenize(["the cat"], prefix="query: ")
    assert prefixed.ids == tokenizer.tokenize(["query: the cat"])[0].ids
    assert prefixed.ids != tokenizer.tokenize(["the cat"])[0].ids


def test_lone_surrogate_counts_as_replacement_character(tokenizer: TextTokenizer) -> None:
    broken, replaced = tokenizer.tokenize(["the \ud800 cat", "the \ufffd cat"])
    assert broken.ids == replaced.ids


@pytest.mark.parametrize("text", ["", "   ", "\x00", "\x00the"])
def test_odd_texts_have_at_least_the_special_tokens(tokenizer: TextTokenizer, text: str) -> None:
    assert len(tokenizer.tokenize([text])[0].ids) >= 2


@pytest.mark.parametrize("wrong", [None, 3, b"bytes", ["list"]])
def test_wrong_type_names_its_position(tokenizer: TextTokenizer, wrong: object) -> None:
    with pytest.raises(TypeError, match=f"text 1 is {type(wrong).__name__}"):
        tokenizer.tokenize(["fine", wrong])  # type: ignore[list-item]


def test_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError, match=r"tokenizer\.json"):
        TextTokenizer.from_file(tmp_path / "tokenizer.json", 8)


def test_a_length_that_special_tokens_fill_is_refused(tokenizer_json: str) -> None:
    """The library would truncate nothing."""
    assert len(TextTokenizer(Tokenizer.from_str(tokenizer_json), 3).tokenize(["the cat sat"])[0].ids) == 3
    for max_length in (1, 2):
        with pytest.raises(ConfigurationError, match=f"max_length is {max_length} .* special tokens take 2"):
            TextTokenizer(Tokenizer.from_str(tokenizer_json), max_length)


def with_a_broken_charsmap(content: dict[str, Any]) -> None:
    content["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": "AAAAAA=="}


def with_special_tokens_that_are_not_there(content: dict[str, Any]) -> None:
    special = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [special, text],
        "pair": [special, text],
        "special_tokens": {},
    }


def with_words_of_no_length(content: dict[str, Any]) -> None:
    content["pre_tokenizer"] = {"type": "FixedLength", "length": 0}


@pytest.mark.parametrize(
    "break_it", [with_a_broken_charsmap, with_special_tokens_that_are_not_there, with_words_of_no_length]
)
def test_a_file_at_which_the_library_panics_is_refused(
    tmp_path: Path, tokenizer_json: str, break_it: Callable[[dict[str, Any]], None]
) -> None:
    content = json.loads(tokenizer_json)
    break_it(content)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(BundleError, match=r"tokenizer\.json: is not a tokenizer that can be loaded"):
        TextTokenizer.from_file(tmp_path / "tokenizer.json", 8)
