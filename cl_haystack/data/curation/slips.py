"""When a word is another by a slip of the pen, and when it is another word: *hypo* is no slip of *hyper*.

A word that is much rarer than the one that it stands for is a slip. Where both are rare, as all words of a
small file are, letters must tell: words of three letters (*DNA*, *RNA*), words with another beginning
(*increases*, *decreases*; *typical*, *atypical*) and negations are what they are. The first letter is rarely
mistyped, and often all that tells words apart (*hired*, *fired*).

Source: Kukich 1992, "Techniques for automatically correcting words in text" (ACM Computing Surveys 24).
"""

from collections.abc import Callable

from rapidfuzz.distance import OSA, Postfix, Prefix

from cl_haystack.data.curation.function_words import SAYS_LITTLE, is_like_its_contrary, numbers_of

Frequency = Callable[[str], int]

_FOUND_ONCE = 2  # texts that a slip is in: the text and its copy
_SHORT_CHARS = 4  # words of fewer letters are others by one letter
_PREFIX_CHARS = 3  # in, de; hyper, hypo: what is shared before them at most, and behind them at least
_MUCH_RARER = 5  # times
_MUCH_RARER_IF_SHORT = 20
_MUCH_RARER_IF_CONTRARY = 100


def are_slips(before: list[str], after: list[str], frequency: Frequency) -> bool:
    """Tell whether words became others by slips of the pen alone.

    :param before: words of a text.
    :param after: those that stand in their place in another.
    :param frequency: in how many distinct texts of the data a word is found.
    :returns: True where nobody meant other words.
    """
    if {*before, *after} <= SAYS_LITTLE:
        return True
    if len(before) == len(after) and all(
        _is_slip(one, other, *sorted((frequency(one), frequency(other))))
        for one, other in zip(before, after, strict=True)
    ):
        return True
    return _is_about_spaces(before, after)


def _is_slip(one: str, other: str, rarer: int, oftener: int) -> bool:
    if one == other or SAYS_LITTLE.issuperset((one, other)):
        return True
    distance = OSA.distance(one, other, score_cutoff=2)
    shorter = min(len(one), len(other))
    if distance > 2 or numbers_of([one]) != numbers_of([other]):
        return False
    if distance == 2 and (shorter < _SHORT_CHARS or _have_prefixes(one, other)):
        return False
    if _are_contraries(one, other):
        return distance == 1 and shorter > 1 and oftener >= _MUCH_RARER_IF_CONTRARY * rarer
    if distance == 1 and _stands_for_little(one, other, rarer):
        return True
    if shorter > 1 and oftener >= (_MUCH_RARER if shorter >= _SHORT_CHARS else _MUCH_RARER_IF_SHORT) * rarer:
        return True
    return _may_be_slip(one, other, distance, rarer)


def _may_be_slip(one: str, other: str, distance: int, rarer: int) -> bool:
    """Judge by letters alone, where the data has about as many texts with one word as with the other."""
    shorter = min(len(one), len(other))
    if one in (f"{other}s", other.removesuffix("s")):
        return shorter >= _SHORT_CHARS - 1
    if distance > 1 or shorter < _SHORT_CHARS:
        return False
    if sorted(one) == sorted(other):  # two letters changed places
        return True
    return rarer <= _FOUND_ONCE and (one[0] == other[0] or one[1:] != other[1:])


def _are_contraries(one: str, other: str) -> bool:
    is_privative = one == f"a{other}" or other == f"a{one}"  # (a)symptomatic
    return (
        is_like_its_contrary(one)
        or is_like_its_contrary(other)
        or (is_privative and min(len(one), len(other)) >= _SHORT_CHARS)
    )


def _stands_for_little(one: str, other: str, rarer: int) -> bool:
    """Tell whether one is a word such as *the*, and the other is none; letters alone may name something."""
    is_little = any(word in SAYS_LITTLE and len(word) > 1 for word in (one, other))
    return is_little and (rarer <= _FOUND_ONCE or min(len(one), len(other)) == 1)


def _have_prefixes(one: str, other: str) -> bool:
    """Tell whether words differ in two letters that stand together before an end that they share."""
    start = Prefix.similarity(one, other)
    end = Postfix.similarity(one[start:], other[start:])
    is_together = max(len(one), len(other)) - start - end <= 2
    return is_together and start <= _PREFIX_CHARS and end >= _PREFIX_CHARS


def _is_about_spaces(before: list[str], after: list[str]) -> bool:
    """Tell whether a space is missing, added or at the wrong place, and hardly anything else."""
    one, other = "".join(before), "".join(after)
    if len(before) == len(after) == 1 or [*filter(str.isdigit, one)] != [*filter(str.isdigit, other)]:
        return False
    if OSA.distance(one, other, score_cutoff=1) <= 1:
        return True
    is_distant = OSA.distance(" ".join(before), " ".join(after), score_cutoff=2) > 2
    is_short = min(len(one), len(other)) < _SHORT_CHARS
    return not (is_distant or is_short or any(map(is_like_its_contrary, (*before, *after))))
