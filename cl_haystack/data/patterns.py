"""Pairs that a text holds by its form: sections, questions with answers, definitions, docstrings.

Each is a short text like a question and the longer one that belongs to it, written together on purpose.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from cl_haystack.data.normalization import normalized
from cl_haystack.data.records import CorpusDocument
from cl_haystack.data.sentences import sentence_spans

_MIN_BODY_WORDS = 5
HEADING = re.compile(r"^(?P<marks>#{1,6})[ \t]+(?P<text>.+?)[ \t]*#*[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
_QUESTION = re.compile(r"^\s*(?:Q|Question)\s*[:.)]\s*(?P<question>.+?)\s*$", re.IGNORECASE)
_ANSWER = re.compile(r"^\s*(?:A|Answer)\s*[:.)]\s*(?P<answer>.+)$", re.IGNORECASE)
_DEFINITION = re.compile(
    r"^(?:(?:An?|The)\s+)?(?P<term>[\w][\w'/-]*(?: [\w][\w'/-]*){0,4}) "
    r"(?:is|are) (?:an?|the|any|one of the) (?P<what>.{20,})$"
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
    code = [found.span() for found in _FENCE.finditer(document.text)]
    headings = [
        found
        for found in HEADING.finditer(document.text)
        if not any(start <= found.start() < end for start, end in code)
    ]
    for heading, following in zip(headings, [*headings[1:], None], strict=False):
        end = len(document.text) if following is None else following.start()
        section = document.text[heading.end() : end].strip()
        if _is_body(section):
            name = heading["text"].strip()
            above = "" if heading["marks"] == "#" else document.title
            yield f"{above} {name}".strip(), section


def question_pairs(document: CorpusDocument) -> Iterator[Texts]:
    """Yield questions with their answers: ``Q:`` and ``A:``, or a line that is a question and the text below.

    :param document: any document.
    :yields: question and answer.
    """
    blocks = [block.strip() for block in re.split(r"\n\s*\n", document.text) if block.strip()]
    for block, following in zip(blocks, [*blocks[1:], ""], strict=False):
        first, _, rest = block.partition("\n")
        marked = _QUESTION.match(first)
        question = (marked["question"] if marked else first).strip().lstrip("#").strip()
        if not (marked or _is_question(question)):
            continue
        answer = rest.strip() or following
        if found := _ANSWER.match(answer.partition("\n")[0]):
            answer = f"{found['answer']}\n{answer.partition(chr(10))[2]}".strip()
        if _is_body(answer) and not _is_question(answer):
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
            yield f"What is {found['term']}?", document.text[start:end]


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


def _is_question(text: str) -> bool:
    return text.endswith("?") and "\n" not in text and 3 <= len(text.split()) <= 40
