"""Pairs that a text holds by its form: sections, questions with answers, definitions, docstrings.

Each is a short text like a question and the longer one that belongs to it, written together on purpose.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise, takewhile

from cl_haystack.data.normalization import normalized
from cl_haystack.data.records import CorpusDocument
from cl_haystack.data.sentences import sentence_spans

_MIN_BODY_WORDS = 5
HEADING = re.compile(r"^(?P<marks>#{1,6})[ \t]+(?P<text>.+?)[ \t]*#*[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
_EMPTY_LINES = re.compile(r"\n\s*\n")
_LINE = re.compile(r"^.+$", re.MULTILINE)
_MARK = re.compile(r"^(?:#{1,6}|[-*+•]|\d{1,3}[.)])\s+")  # of a heading, or an item of a list
_IN_BOLD = re.compile(r"^(\*\*|__)(?P<text>.+?)\1")
_Q = re.compile(r"^(?:Q|Question)\s*[:.)]\s*", re.IGNORECASE)
_A = re.compile(r"^(?:A|Answer)\s*[:.)]\s*", re.IGNORECASE)
_DEFINITION = re.compile(
    r"^(?:(?P<article>An?|The)\s+)?(?P<term>[\w][\w'/-]*(?: [\w][\w'/-]*){0,4}) "
    r"(?P<verb>is|are) (?:an?|the|any|one of the) (?P<what>.{20,})$"
)
_NO_TERMS = frozenset(
    (
        "it",
        "this",
        "that",
        "these",
        "those",
        "there",
        "here",
        "he",
        "she",
        "they",
        "we",
        "you",
        "i",
        "what",
        "which",
    )
)

Texts = tuple[str, str]


def without_title_heading(document: CorpusDocument) -> CorpusDocument:
    """Cut off the Markdown heading that a text begins with, where it is the document's title again.

    :param document: any document.
    :returns: the document, whose title then is not in its text.
    """
    text = document.text.lstrip()
    heading = HEADING.match(text)
    if heading is None or normalized(heading["text"]) != normalized(document.title):
        return document
    return replace(document, text=text[heading.end() :].lstrip())


def section_pairs(document: CorpusDocument) -> Iterator[Texts]:
    """Yield the headings of a Markdown text, below their document's title, each with its section.

    :param document: a document whose text is Markdown.
    :yields: heading and section.
    """
    headings = list(_outside_code(HEADING, document.text))
    for heading, following in zip(headings, [*headings[1:], None], strict=False):
        end = len(document.text) if following is None else following.start()
        section = document.text[heading.end() : end].strip()
        if _is_body(section):
            name = heading["text"].strip()
            above = "" if heading["marks"] == "#" else document.title
            yield f"{above} {name}".strip(), section


def question_pairs(document: CorpusDocument) -> Iterator[Texts]:
    """Yield questions with their answers.

    A question is a line after ``Q:``, or one that ends with a question mark and is a heading, an item of a
    list, or the first line of a paragraph, in bold or not. Its answer is the rest of the paragraph, or else
    the next one; of a heading, all that stands below it, up to the next heading or question.

    :param document: any document; Markdown tells more.
    :yields: question and answer.
    """
    blocks = _blocks(document.text)
    questions = [_question_of(block.partition("\n")[0]) for block in blocks]
    for number, (block, question) in enumerate(zip(blocks, questions, strict=True)):
        if question is None:
            continue
        following = takewhile(lambda later: questions[later] is None, range(number + 1, len(blocks)))
        below = [blocks[later] for later in following]
        if HEADING.match(block):
            answer = "\n\n".join(takewhile(lambda text: not HEADING.match(text), below))
        else:
            answer = block.partition("\n")[2].strip() or next(iter(below), "")
        first, *others = answer.split("\n")
        answer = "\n".join([_A.sub("", _plain(first)), *others]).strip()
        if _is_body(answer):
            yield question, answer


def definition_pairs(document: CorpusDocument) -> Iterator[Texts]:
    """Yield what a text defines ("A heap is a …"), each as a question with the sentence and the next one.

    :param document: any English document.
    :yields: question and definition.
    """
    spans = list(sentence_spans(document.text))
    for number, (start, end) in enumerate(spans):
        found = _DEFINITION.match(" ".join(document.text[start:end].split()))
        if found and found["term"].split()[0].casefold() not in _NO_TERMS:
            end = spans[min(number + 1, len(spans) - 1)][1]
            article = f"{found['article'].lower()} " if found["article"] else ""
            yield f"What {found['verb']} {article}{found['term']}?", document.text[start:end]


def docstring_pairs(document: CorpusDocument) -> Iterator[Texts]:
    """Yield the names of documented functions and classes of Python source, each with its docstring.

    :param document: a document whose text is Python source; any other yields nothing. It is never run.
    :yields: the name in words, with its parameters, and the docstring.
    """
    try:
        tree = ast.parse(document.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last: nested too deeply, too
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            text = ast.get_docstring(node)
            name = " ".join(re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", node.name)).casefold()
            if text and name and _is_body(text):
                names = [] if isinstance(node, ast.ClassDef) else [a.arg for a in node.args.args]
                of = ", ".join(argument for argument in names if argument not in ("self", "cls"))
                yield f"{name} of {of}" if of else name, text


PATTERNS: dict[str, Callable[[CorpusDocument], Iterator[Texts]]] = {
    "section": section_pairs,
    "question": question_pairs,
    "definition": definition_pairs,
    "docstring": docstring_pairs,
}


def _is_body(text: str) -> bool:
    return len(text.split()) >= _MIN_BODY_WORDS


def _outside_code(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Find a pattern where Markdown has no block of code: a comment there is no heading."""
    code = [found.span() for found in _FENCE.finditer(text)]
    for found in pattern.finditer(text):
        if not any(start <= found.start() < end for start, end in code):
            yield found


def _blocks(text: str) -> list[str]:
    """Cut a text at empty lines, around headings, and before questions that begin with a mark."""
    cuts = {0, len(text), *(found.end() for found in _EMPTY_LINES.finditer(text))}
    for heading in _outside_code(HEADING, text):
        cuts.update(heading.span())
    for line in _outside_code(_LINE, text):
        marked = _MARK.match(line[0].strip()) or _IN_BOLD.match(line[0]) or _Q.match(line[0])
        if marked and _question_of(line[0]) is not None:
            cuts.add(line.start())
    parts = (text[start:end].strip() for start, end in pairwise(sorted(cuts)))
    return [part for part in parts if part]


def _question_of(line: str) -> str | None:
    """Return the question that a line is, without what marks it as one."""
    text = _plain(line)
    if _Q.match(text):
        return _plain(_Q.sub("", text)) or None
    return text if text.endswith("?") and 3 <= len(text.split()) <= 40 else None


def _plain(line: str) -> str:
    """Take the marks of Markdown off the beginning of a line."""
    return _IN_BOLD.sub(r"\g<text>", _MARK.sub("", line.strip())).strip()
