"""Markdown by its lines: headings outside of code, and what a heading says without its marks."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter

HEADING = re.compile(r"^(?P<marks>#{1,6})[ \t]+(?P<text>.+?)[ \t]*#*[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
_ANCHOR = re.compile(r"\s*\{#[^}]*\}\s*$|</?a\b[^>]*>")  # where links to a heading lead
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_EMPHASIS = re.compile(r"(\*\*|`)(.+?)\1")


def outside_code(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Find a pattern where Markdown has no block of code: a comment there is no heading.

    :param pattern: what to find.
    :param text: Markdown.
    :yields: each match that does not begin within a block of code.
    """
    code = [found.span() for found in _FENCE.finditer(text)]
    for found in pattern.finditer(text):
        before = bisect_right(code, found.start(), key=itemgetter(0))  # blocks that begin no later
        if not before or found.start() >= code[before - 1][1]:
            yield found


def plain(text: str) -> str:
    """Take links, emphasis and marks of code off a line: people who search type none of them.

    :param text: one line of Markdown.
    :returns: what it says.
    """
    return _EMPHASIS.sub(r"\2", _LINK.sub(r"\1", _ANCHOR.sub("", text))).strip()
