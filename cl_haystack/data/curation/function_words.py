"""Words that say little, such as *a* and *the*, and words that say no: without one a text is another."""

import re
from collections.abc import Iterable

SAYS_LITTLE = frozenset(
    "a an the this that these those my your our its their some any i you we it they do me us "  # noqa: SIM905
    "does did is are was were be been being can could will would shall should may might has have had to "
    "of for on at in by with and as if there here s please just so".split()
)
"""English words that may stand for one another; *from* for *to*, *or* for *and*, *she* for *he* may not."""

_NEGATIONS = frozenset(
    # English; "t" is what "don t" leaves, "cant" what "can't" becomes
    "no not t never none nor neither cannot cant wont without nothing nobody non hardly barely rarely seldom "  # noqa: SIM905
    "unless less fail fails failed lack lacks "
    # German, Dutch, Swedish, Danish and Norwegian
    "nicht nichts kein keine keinen keinem keiner keines nie niemals ohne weder niet geen nooit zonder inte "
    "ej ingen aldrig utan ikke ikkje aldri uden uten "
    # French, Spanish, Italian, Portuguese, Romanian
    "ne pas jamais sans aucun aucune rien ni nunca sin nada ningún ninguna mai senza não nem sem nu fără "
    # Polish, Czech, Croatian, Russian, Ukrainian, Hungarian, Finnish, Turkish, Greek
    "nie nigdy bez není nelze nije ne не ни нет без никогда ні немає nem nincs ei değil yok δεν μην χωρίς "
    # Arabic, Hebrew, Persian, Hindi, Vietnamese, Indonesian
    "لا ليس ليست لم لن غير بدون לא אין בלי نه नहीं न मत बिना không chưa tidak bukan tanpa "
    # Chinese, Japanese, Korean, by character
    "不 没 沒 未 无 無 非 否 勿 莫 别 別 な ん ず 안 못 않 없".split()
)
_LIKE_NO_OTHER = frozenset("fail fails failed lack lacks less t".split())  # noqa: SIM905

# Armenian, Thaana, Bengali to Thai, Georgian, Amharic and others.
_UNKNOWN_SCRIPTS = re.compile("[\u0530-\u058f\u0700-\u08ff\u0980-\u10ff\u1200-\u1dff\ua000-\uabff]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def is_negation(word: str) -> bool:
    """Tell whether a word says no: one of some thirty languages, or such as *dont* and *isnt*.

    A word of a script whose negations are not known here may be one.
    """
    is_known = word in _NEGATIONS or (word.endswith("nt") and word[:-2] in SAYS_LITTLE)
    return is_known or bool(_UNKNOWN_SCRIPTS.search(word))


def is_like_its_contrary(word: str) -> bool:
    """Tell whether a slip of the pen may make another word of a negation: *not*, *now*; *keine*, *kleine*."""
    return word in _NEGATIONS and word not in _LIKE_NO_OTHER


def negated(words: list[str]) -> list[str]:
    """Return the word that follows each negation, those that say little aside."""
    return [
        next((after for after in words[place + 1 :] if after not in SAYS_LITTLE), "")
        for place, word in enumerate(words)
        if is_negation(word)
    ]


def numbers_of(words: Iterable[str]) -> list[str]:
    """Return the numbers in words, in their order: 1.5 is one."""
    return _NUMBER.findall(" ".join(words))
