"""When two texts count as the same, and which words a text holds.

Scripts without spaces (Han, kana, Thai) are taken by character, Korean by syllable.
"""

import re

# Thai, Lao, Tibetan, Burmese, Khmer, Chinese, Japanese, Korean: their letters, without punctuation.
_ALONE = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30fa\u30fc-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u0dff"  # vowels are marks in Hindi
_CHARACTER = re.compile(f"[{_ALONE}]")
_WORD = re.compile(
    rf"[{_ALONE}]|[^\W{_ALONE}]+(?:(?:[{_MARKS}]|(?<=\d)[.,](?=\d))[^\W{_ALONE}]*)*"  # 1.5 is one word
)
_SHORT_NOT = re.compile(r"n['\u2019]t\b")


def normalized(text: str) -> str:
    """Return the form by which texts are compared: case and white space aside.

    :param text: any text.
    :returns: case-folded, with single spaces and none at the ends.
    """
    return " ".join(text.casefold().split())


def word_list(text: str) -> list[str]:
    """Return the words of a text in order, case-folded; punctuation is left out, and *isn't* is *isnt*."""
    return _WORD.findall(_SHORT_NOT.sub("nt", text.casefold()))


def words(text: str) -> frozenset[str]:
    """Return the words of a text, each once.

    :param text: any text.
    :returns: see :func:`word_list`; equal for texts that are the same by ``normalized``.
    """
    return frozenset(word_list(text))


def is_character(word: str) -> bool:
    """Tell whether a word of :func:`word_list` is a character of a script that is taken by character."""
    return _CHARACTER.match(word) is not None
