"""Texts to token ids, as the checkpoint was trained, for any text that a corpus may hold.

``tokenizer.json`` may carry a padding and a length that are not the model's; both are set here.
The tokenizer library truncates after it has tokenized the whole text (a megabyte takes a second), so long
texts are cut by characters first. A tokenizer splits a text into words and looks at each word alone, so a
cut changes nothing but the words around it: as soon as enough whole words lie between the last token that is
kept and the cut, the tokens are those of the whole text. Otherwise the first 65,536 characters are taken
(32 for each token of ``max_length``, where that is more). That limit is the only one that can change a token:
where a text has fewer than ``max_length`` tokens in so many characters, being a desert of blanks or one
endless word, what comes after them is not read.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Encoding, Tokenizer

from cl_haystack.errors import BundleError, ConfigurationError, EncodingError

REPLACEMENT_CHARACTER = "\ufffd"
# The first cut: English has about five characters a token, so one cut nearly always does.
_CHARS_PER_TOKEN = 16
# The library takes about 0.4 microseconds a character on one core: 65,536 take 30 ms.
_MAX_CHARS = 65_536
_MAX_CHARS_PER_TOKEN = 32
# Whole words between the last token kept and the cut. One is what theory asks for; the rest is for special
# tokens written out in the text, which a cut may break into several words.
_MARGIN_WORDS = 16
# A cut at whitespace breaks no word; further than this it is not looked for.
_MAX_CHARS_TO_WHITESPACE = 1_000
# Longer texts are left to the library's threads, which let other Python threads run meanwhile.
_MAX_QUERY_CHARS = 500
_PROBE = "a"  # whatever it gives: only that it can be tokenized counts
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
    :raises ConfigurationError: the special tokens alone are as many.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int) -> None:
        if max_length <= (num_special := tokenizer.num_special_tokens_to_add(is_pair=False)):
            # the library would truncate nothing then
            raise ConfigurationError(
                f"max_length is {max_length} tokens, of which the tokenizer's special tokens take "
                f"{num_special}; choose a greater length"
            )
        self._max_length = max_length
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self._max_chars = max(_MAX_CHARS, max_length * _MAX_CHARS_PER_TOKEN)

    @classmethod
    def from_file(cls, file: Path, max_length: int) -> "TextTokenizer":
        """Load a bundle's tokenizer.

        :param file: ``tokenizer.json``.
        :param max_length: most tokens of a text, special tokens included.
        :returns: the tokenizer.
        :raises BundleError: the file is not a tokenizer, or none that can tokenize.
        """
        try:
            tokenizer = cls(Tokenizer.from_file(str(file)), max_length)
            tokenizer._encode([_PROBE], with_words=False)
        except Exception as error:  # the library raises bare Exception for any fault
            raise BundleError(file, f"is not a tokenizer that can be loaded ({error})") from error
        return tokenizer

    def tokenize(self, texts: Sequence[str], prefix: str = "") -> list[Tokenized]:
        """Tokenize texts, order kept.

        :param texts: any strings; lone surrogates count as U+FFFD.
        :param prefix: put before every text.
        :returns: one entry a text.
        :raises TypeError: an element is not a string; its position is named.
        :raises EncodingError: the library fails.
        """
        prepared = [_prepare(text, prefix, position, self._max_chars) for position, text in enumerate(texts)]
        cuts = [self._first_cut(text) for text in prepared]
        was_cut = [position for position, cut in enumerate(cuts) if len(cut) < len(prepared[position])]
        encodings = self._encode(cuts, with_words=bool(was_cut))
        unsure = [
            position for position in was_cut if _whole_words_beyond(encodings[position]) < _MARGIN_WORDS
        ]
        whole = self._encode([prepared[position] for position in unsure], with_words=False)
        for position, encoding in zip(unsure, whole, strict=True):
            encodings[position] = encoding
        return [Tokenized(ids=encoding.ids, type_ids=encoding.type_ids) for encoding in encodings]

    def _encode(self, texts: list[str], *, with_words: bool) -> list[Encoding]:
        try:
            return self._encode_or_panic(texts, with_words=with_words)
        except BaseException as error:
            # Of a tokenizer.json made to do harm, or a bug of the library. It says so on standard error too.
            if type(error).__name__ != "PanicException":
                raise
            raise EncodingError(f"the tokenizer library failed ({error}); is its file damaged?") from error

    def _encode_or_panic(self, texts: list[str], *, with_words: bool) -> list[Encoding]:
        # One query is done before another thread would have woken up: 26 microseconds against 46.
        if len(texts) == 1 and len(texts[0]) <= _MAX_QUERY_CHARS:
            return [self._tokenizer.encode(texts[0])]
        # The fast method says of no token which word it belongs to.
        method = self._tokenizer.encode_batch if with_words else self._tokenizer.encode_batch_fast
        encodings: list[Encoding] = method(texts)
        return encodings

    def _first_cut(self, text: str) -> str:
        max_chars = self._max_length * _CHARS_PER_TOKEN
        if len(text) <= max_chars:
            return text
        space = _WHITESPACE.search(text, max_chars, max_chars + _MAX_CHARS_TO_WHITESPACE)
        return text[: max_chars if space is None else space.start()]


def check_text(text: object, position: int) -> None:
    """Refuse what is not a string.

    :param text: an element of a list of texts.
    :param position: its position there.
    :raises TypeError: it is not a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"text {position} is {type(text).__name__}, expected str")


def _whole_words_beyond(encoding: Encoding) -> int:
    """Count the words that begin after the last token kept, less the last word, which the cut may break."""
    if not encoding.overflowing:
        return 0
    return max(0, _last_word(encoding.overflowing[-1]) - _last_word(encoding) - 1)


def _last_word(encoding: Encoding) -> int:
    words: list[int] = [word for word in encoding.word_ids if word is not None]  # None: a special token
    return words[-1] if words else 0


def _prepare(text: str, prefix: str, position: int, max_chars: int) -> str:
    check_text(text, position)
    text = prefix + text[:max_chars]
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
