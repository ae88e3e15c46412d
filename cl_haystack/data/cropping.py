"""Pairs of two random spans of one document: independent cropping.

Two parts of one text share a subject but not the words, and they may overlap: from near copies to strangers,
all degrees come up. It needs neither titles nor sentences.

Source: Izacard et al. 2021 (Contriever), arXiv:2112.09118, section 3.2: spans of 10 to 50 % of a passage of
256 tokens; words here.
"""

import re
from random import Random

from cl_haystack.data.records import CorpusDocument

_PASSAGE_WORDS = 256
_SHARE = (0.1, 0.5)
_MIN_SPAN_WORDS = 5

_WORD = re.compile(r"\S+")
Span = tuple[int, int]


def crop_pair(document: CorpusDocument, random: Random) -> tuple[str, str] | None:
    """Draw two spans from a random passage of a document, title included.

    :param document: a document of a corpus; words are what white space divides.
    :param random: draws passage and spans.
    :returns: anchor and positive, each 5 words or longer; None where the document has fewer than 10 words.
    """
    words = [found.span() for found in _WORD.finditer(document.content)]
    if len(words) * _SHARE[1] < _MIN_SPAN_WORDS:
        return None
    first = _below(len(words) - _PASSAGE_WORDS + 1, random)
    passage = words[first : first + _PASSAGE_WORDS]
    return _crop(document.content, passage, random), _crop(document.content, passage, random)


def _crop(text: str, words: list[Span], random: Random) -> str:
    low, high = (max(_MIN_SPAN_WORDS, int(share * len(words))) for share in _SHARE)
    length = low + _below(high - low + 1, random)
    first = _below(len(words) - length + 1, random)
    return text[words[first][0] : words[first + length - 1][1]]


def _below(limit: int, random: Random) -> int:
    """Draw from 0 up to, but without, ``limit``, the same in every version of Python; 0 below 1."""
    return int(random.random() * max(limit, 1))
