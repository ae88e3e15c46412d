"""When two texts say the same but for small edits: a slip of the pen, a word more or less, punctuation.

Word overlap alone cannot tell: "X increases Y" and "X decreases Y" share nearly all words and are opposites,
and such pairs are the best negatives there are. So words are aligned, and what differs is looked at:

* a number must not become another, and no negation may come or go;
* a word may become another only by a slip: the two differ in one letter, or in two and one of them is hardly
  found in the data; or both are words like *a* and *the*;
* few words may be missing, repeated or moved, none missing from a text of three.

Documents (more than 40 words) are the same when nearly all words are, in their order.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from rapidfuzz.distance import OSA, Indel, Levenshtein

_WORD = re.compile(r"\w+")
_DIGIT = re.compile(r"\d")
_DOCUMENT_WORDS = 41
_SAME_DOCUMENT = 0.9  # share of words in common, in order
_EDITED_SHARE = 0.2  # of the words of a statement
_RARE_TEXTS = 2  # a word in no more texts than this may be a slip: the text and its edited copy
_MIN_WORDS_TO_DROP_ONE = 4
_MIN_WORDS_FOR_TWO = 5
_MIN_CHARS_FOR_TWO = 4

_NEGATIONS = frozenset(
    "no not never none nor neither cannot without fail fails failed lack lacks".split()  # noqa: SIM905
)
_SAYS_LITTLE = frozenset(
    "a an the this that these those my your our his her its their some any i you we it they he she do "  # noqa: SIM905
    "does did is are was were be been being can could will would shall should may might has have had to "
    "of for on at in by with from and or as if there here s please just so".split()
)

Frequency = Callable[[str], int]


def word_list(text: str) -> list[str]:
    """Return the words of a text in order, case-folded; punctuation is left out."""
    return _WORD.findall(text.casefold())


def facts(words: Iterable[str]) -> tuple[frozenset[str], bool]:
    """Return what makes texts opposites although they are alike: their numbers, and whether they negate."""
    known = frozenset(words)
    return frozenset(filter(_DIGIT.search, known)), not _NEGATIONS.isdisjoint(known)


def is_same_statement(one: list[str], other: list[str], frequency: Frequency) -> bool:
    """Tell whether two texts differ by small edits alone.

    :param one: the words of a text, as :func:`word_list` gives them.
    :param other: those of another.
    :param frequency: in how many distinct texts of the data a word is found.
    :returns: True where both say the same; it does not matter which is first.
    """
    if one == other or "".join(one) == "".join(other):
        return True
    if max(len(one), len(other)) >= _DOCUMENT_WORDS:
        return Indel.normalized_similarity(one, other) >= _SAME_DOCUMENT
    edits = _edits(one, other, frequency)
    shorter = min(len(one), len(other))
    return edits is not None and edits <= max(
        1 + (shorter >= _MIN_WORDS_FOR_TWO), int(_EDITED_SHARE * shorter)
    )


def _edits(one: list[str], other: list[str], frequency: Frequency) -> int | None:
    """Count the edits between two statements; None where one of them is not small."""
    gone: Counter[str] = Counter()
    come: Counter[str] = Counter()
    count = 0
    for before, after in _differences(one, other):
        if before and after:
            if not _is_slip(before, after, frequency):
                return None
            count += 1
        else:
            gone.update(before)
            come.update(after)
    moved = gone & come
    dropped = gone + come - moved - moved
    new = [word for word in dropped if word not in one or word not in other]  # the rest is said twice
    if _NEGATIONS & set(new) or (new and min(len(one), len(other)) < _MIN_WORDS_TO_DROP_ONE - 1):
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


def _is_slip(before: list[str], after: list[str], frequency: Frequency) -> bool:
    one, other = " ".join(before), " ".join(after)
    if {*before, *after} <= _SAYS_LITTLE:
        return True
    distance = OSA.distance(one, other, score_cutoff=2)
    if distance > 2 or _DIGIT.findall(one) != _DIGIT.findall(other):
        return False
    if min(map(frequency, (*before, *after))) <= _RARE_TEXTS:
        return distance == 1 or min(len(one), len(other)) >= _MIN_CHARS_FOR_TWO
    is_privative = one == f"a{other}" or other == f"a{one}"  # (a)symptomatic
    return distance == 1 and not is_privative and not _NEGATIONS & {*before, *after}
