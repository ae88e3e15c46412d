"""Questions with their answers, as they stand in FAQs, forums and documentation."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile

from cl_haystack.data.markdown import HEADING, outside_code, plain
from cl_haystack.data.records import CorpusDocument

_MIN_BODY_WORDS = 5
_QUESTION_WORDS = range(3, 41)
_MAX_CHARS = 1_000  # of a line that is looked at: a text may be one of megabytes
_EMPTY_LINES = re.compile(r"\n\s*\n")
_LINE = re.compile(r"^.+$", re.MULTILINE)
_ITEM = re.compile(r"^(?:[-*+•]|\d{1,3}[.)])\s+")
_MARK = re.compile(rf"^#{{1,6}}\s+|{_ITEM.pattern}")
_SECTION = re.compile(r"^\d+(?:\.\d+)+\.?\s+")
_ASKED = re.compile(r"[\w\"'\u201d\u2019\u00bb)\]][ \u00a0\u202f]?\?$")  # French puts a space there
_BOLD = re.compile(r"^(?:\*\*|__).+(?:\*\*|__)$")
_Q = re.compile(r"^(?:\*\*|__)?(?:Q|Question)\s*[:.)]\s*(?:\*\*|__)?\s*", re.IGNORECASE)
_A = re.compile(r"^(?:\*\*|__)?(?:A|Answer)\s*[:.)]\s*(?:\*\*|__)?\s*", re.IGNORECASE)


def question_pairs(document: CorpusDocument) -> Iterator[tuple[str, str]]:
    """Yield questions with their answers.

    A question begins with ``Q:``, or is a line that ends with a question mark and is a heading, an item of a
    list, or the first line of a paragraph. Its answer is what comes after ``A:``, or the rest of the
    paragraph, or else the next one; of a heading, all that stands below it, up to the next heading or
    question.

    :param document: any document; Markdown tells more.
    :yields: question and answer.
    """
    blocks = _blocks(document.text)
    is_question = [_is_question(block.partition("\n")[0]) for block in blocks]
    ends_here = [
        asks or HEADING.match(block) is not None for asks, block in zip(is_question, blocks, strict=True)
    ]
    for number, block in enumerate(blocks):
        if not is_question[number]:
            continue
        following = takewhile(lambda later: not ends_here[later], range(number + 1, len(blocks)))
        question, answer = _parts(block, [blocks[later] for later in following])
        first, *others = answer.split("\n")
        first = _MARK.sub("", first.strip())
        is_said = question.endswith("?") or _A.match(first)
        is_item = _ITEM.match(block)  # of a table of contents, perhaps: the next entry is no answer
        answer = "\n".join([_A.sub("", first), *others]).strip()
        if is_said and is_body(answer) and (not is_item or is_body(first)):
            yield question, answer


def _parts(block: str, below: Sequence[str]) -> tuple[str, str]:
    """Tell the question of a block from its answer, which may be in the blocks below."""
    lines = block.split("\n")
    if HEADING.match(block):
        return _text(lines[0]), "\n\n".join(below)
    marked = (number for number, line in enumerate(lines) if _A.match(_MARK.sub("", line.strip())))
    end = next(marked, 1)
    return _text(" ".join(lines[:end])), "\n".join(lines[end:]).strip() or next(iter(below), "")


def _blocks(text: str) -> list[str]:
    """Cut a text at empty lines, around headings, and before questions that stand out."""
    cuts = {0, len(text), *(found.end() for found in _EMPTY_LINES.finditer(text))}
    for heading in outside_code(HEADING, text):
        cuts.update(heading.span())
    for found in outside_code(_LINE, text):
        line = found[0].strip()
        if any(mark.match(line) for mark in (_MARK, _BOLD, _Q)) and _is_question(line):
            cuts.add(found.start())
    parts = (text[start:end].strip() for start, end in pairwise(sorted(cuts)))
    return [part for part in parts if part]


def _is_question(line: str) -> bool:
    if len(line) > _MAX_CHARS:
        return False
    if _Q.match(_MARK.sub("", line)):
        return True
    text = _text(line)
    return _ASKED.search(text) is not None and len(text.split()) in _QUESTION_WORDS


def _text(line: str) -> str:
    """Return what a question says, without marks and numbers before it."""
    text = plain(_MARK.sub("", line.strip())).strip("_")
    return _SECTION.sub("", _Q.sub("", text))


def is_body(text: str) -> bool:
    """Tell whether a text is long enough to answer anything: five words."""
    return len(text.split()) >= _MIN_BODY_WORDS
