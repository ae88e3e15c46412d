"""When two texts count as the same, and which words a text holds."""

import re

_WORD = re.compile(r"\w+")


def normalized(text: str) -> str:
    """Return the form by which texts are compared: case and white space aside.

    :param text: any text.
    :returns: case-folded, with single spaces and none at the ends.
    """
    return " ".join(text.casefold().split())


def words(text: str) -> frozenset[str]:
    """Return the words of a text, each once.

    :param text: any text.
    :returns: runs of letters and digits, case-folded; equal for texts that are the same by ``normalized``.
    """
    return frozenset(_WORD.findall(text.casefold()))
