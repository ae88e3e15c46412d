"""Texts to token ids, as the checkpoint was trained, for any text that a corpus may hold.

``tokenizer.json`` may carry a padding and a length that are not the model's; both are set here.
The tokenizer library truncates after it has tokenized the whole text (a megabyte takes a second), so long
texts are cut by characters first, at whitespace, and the cut is widened until it provably changes no token.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Encoding, Tokenizer

from cl_haystack.errors import BundleError

REPLACEMENT_CHARACTER = "\ufffd"
_CHARS_PER_TOKEN = (
    16  # the first cut: English has about five characters a token, so one cut nearly always does
)
_MARGIN_TOKENS = (
    8  # a token at the cut may differ from the whole text's; these many beyond the limit must exist
)
_WIDENING = 4
_WHITESPACE = re.compile(r"\s")


@dataclass(frozen=True)
class Tokenized:
    """Token ids of one text.

    :param ids: token ids, special tokens included, at most ``max_length``.
    :param type_ids: segment of each token.
    """

    ids: list[int]
    type_ids: list[int]


class TextTokenizer:
    """Tokenizes with a length limit; never pads.

    :param tokenizer: a fast tokenizer; its own padding and truncation are replaced.
    :param max_length: most tokens of a text, special tokens included.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int) -> None:
        self._max_length = max_length
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self._special_tokens = self._tokenizer.num_special_tokens_to_add(is_pair=False)

    @classmethod
    def from_file(cls, file: Path, max_length: int) -> "TextTokenizer":
        """Load a bundle's tokenizer.

        :param file: ``tokenizer.json``.
        :param max_length: most tokens of a text, special tokens included.
        :returns: the tokenizer.
        :raises BundleError: the file is not a tokenizer.
        """
        try:
            return cls(Tokenizer.from_file(str(file)), max_length)
        except Exception as error:  # the library raises bare Exception for any fault
            raise BundleError(file, f"is not a tokenizer that can be loaded ({error})") from error

    def tokenize(self, texts: Sequence[str], prefix: str = "") -> list[Tokenized]:
        """Tokenize texts, order kept.

        :param texts: any strings; lone surrogates count as U+FFFD.
        :param prefix: put before every text.
        :returns: one entry a text.
        :raises TypeError: an element is not a string; its position is named.
        """
        prepared = [_prepare(text, prefix, position) for position, text in enumerate(texts)]
        encodings: list[Encoding | None] = [None] * len(prepared)
        pending, max_chars = list(range(len(prepared))), self._max_length * _CHARS_PER_TOKEN
        while pending:
            cut = [_cut(prepared[position], max_chars) for position in pending]
            unsure = []
            for position, text, encoding in zip(
                pending, cut, self._tokenizer.encode_batch_fast(cut), strict=True
            ):
                if len(text) < len(prepared[position]) and not self._is_safe(encoding):
                    unsure.append(position)
                else:
                    encodings[position] = encoding
            pending, max_chars = unsure, max_chars * _WIDENING
        return [Tokenized(ids=e.ids, type_ids=e.type_ids) for e in encodings if e is not None]

    def _is_safe(self, encoding: Encoding) -> bool:
        """Tell whether a text that was cut gave enough tokens beyond the limit."""
        beyond: int = sum(len(rest.ids) - self._special_tokens for rest in encoding.overflowing)
        return beyond >= _MARGIN_TOKENS


def _prepare(text: str, prefix: str, position: int) -> str:
    if not isinstance(text, str):
        raise TypeError(f"text {position} is {type(text).__name__}, expected str")
    text = prefix + text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _cut(text: str, max_chars: int) -> str:
    """Cut at the first whitespace from ``max_chars`` on; inside a word a cut could change the whole word."""
    if len(text) <= max_chars:
        return text
    space = _WHITESPACE.search(text, max_chars)
    return text if space is None else text[: space.start()]
