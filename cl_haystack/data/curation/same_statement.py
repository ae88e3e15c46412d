"""When two texts say the same but for small edits: a slip of the pen, a word more or less, punctuation.

Word overlap alone cannot tell: "X increases Y" and "X decreases Y" share nearly all words and are opposites,
and such pairs are the best negatives there are. So words are aligned, and what differs is looked at:

* a number must not become another, and no negation may come or go, or deny another word;
* a word may become another only by a slip (:mod:`~cl_haystack.data.curation.slips`), or where both are words
  like *a* and *the*;
* few words may be missing, repeated or moved, none missing from a text of three.

Documents (more than 100 words) are the same when nearly all words are, in their order.

Scripts without spaces (Han, kana, Thai) are compared by character, Korean by syllable: a negation is one, and
a word that is another by one character is another word.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby

from rapidfuzz.distance import Indel, Levenshtein

from cl_haystack.data.curation.function_words import is_negation, negated, numbers_of
from cl_haystack.data.curation.slips import Frequency, are_slips
from cl_haystack.data.normalization import is_character

_DOCUMENT_WORDS = 101
_SAME_DOCUMENT = 0.9  # share of words in common, in order
_EDITED_SHARE = 0.2  # of the words of a statement
_MIN_WORDS_TO_DROP_ONE = 4
_MIN_WORDS_FOR_TWO = 5


def facts(words: Iterable[str]) -> tuple[frozenset[str], bool]:
    """Return what makes texts opposites although they are alike: their numbers, and whether they negate."""
    known = frozenset(words)
    return frozenset(numbers_of(known)), any(map(is_negation, known))


def is_same_statement(one: list[str], other: list[str], frequency: Frequency) -> bool:
    """Tell whether two texts differ by small edits alone.

    :param one: the words of a text, as :func:`~cl_haystack.data.normalization.word_list` gives them.
    :param other: those of another.
    :param frequency: in how many distinct texts of the data a word is found.
    :returns: True where both say the same; it does not matter which is first.
    """
    if one == other or ("".join(one) == "".join(other) and numbers_of(one) == numbers_of(other)):
        return True
    if max(len(one), len(other)) >= _DOCUMENT_WORDS:
        return Indel.normalized_similarity(one, other) >= _SAME_DOCUMENT
    one, other = _said_once(one), _said_once(other)
    edits = _edits(one, other, frequency)
    shorter = min(len(one), len(other))
    return edits is not None and edits <= max(
        1 + (shorter >= _MIN_WORDS_FOR_TWO), int(_EDITED_SHARE * shorter)
    )


def _said_once(words: list[str]) -> list[str]:
    return [word for word, _ in groupby(words)]


def _edits(one: list[str], other: list[str], frequency: Frequency) -> int | None:
    """Count the edits between two statements; None where one of them is not small."""
    gone: Counter[str] = Counter()
    come: Counter[str] = Counter()
    count = 0
    for before, after in _differences(one, other):
        if before and after:
            if not are_slips(before, after, frequency):
                return None
            count += 1
        else:
            gone.update(before)
            come.update(after)
    moved = gone & come
    dropped = gone + come - moved - moved
    new = [word for word in dropped if word not in one or word not in other]  # the rest is said twice
    if new and min(len(one), len(other)) < _MIN_WORDS_TO_DROP_ONE - 1:
        return None
    if any(map(is_negation, dropped)) or any(map(is_character, moved)):
        return None
    if any(map(is_negation, moved)) and negated(one) != negated(other):
        return None
    return count + moved.total() + dropped.total()


def _differences(one: list[str], other: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the words that stand in one text where the other has others, or none."""
    before: list[str] = []
    after: list[str] = []
    for step in Levenshtein.opcodes(one, other):
        if step.tag == "equal":
            if before or after:
                yield before, after
            before, after = [], []
        else:
            before += one[step.src_start : step.src_end]
            after += other[step.dest_start : step.dest_end]
    if before or after:
        yield before, after
