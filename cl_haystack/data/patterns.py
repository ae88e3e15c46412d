"""Pairs that a text holds by its form: sections, questions with answers, definitions, docstrings.

Each is a short text like a question and the longer one that belongs to it, written together on purpose.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from cl_haystack.data.markdown import HEADING, outside_code, plain
from cl_haystack.data.normalization import normalized
from cl_haystack.data.questions import is_body, question_pairs
from cl_haystack.data.records import CorpusDocument
from cl_haystack.data.sentences import sentence_spans

_DEFINITION = re.compile(
    r"^(?:(?P<article>An?|The)\s+)?(?P<term>[\w][\w'/-]*(?: [\w][\w'/-]*){0,4}) "
    r"(?P<verb>is|are) (?:an?|the|any|one of the) (?P<what>.{20,})$"
)
_NO_TERMS = frozenset(
    "it this that these those there here he she they we you i what which who when where why how whether "  # noqa: SIM905
    "none nobody nothing nowhere everything everyone everybody anything anyone something someone each every "
    "both all any some many most much few several such other another one either neither only not no yes "
    "my our your his her its their if while because since although though but and or nor so thus hence then "
    "now also as on in at by for from to with without of under over after before between like unlike note "
    "remember recall suppose imagine let first second finally however".split()
)
_NEVER_IN_TERMS = frozenset(("that", "it", "is", "are", "which", "these", "those", "this"))

Texts = tuple[str, str]


def without_title_heading(document: CorpusDocument) -> CorpusDocument:
    """Cut off the Markdown heading that a text begins with, where it is the document's title again.

    :param document: any document.
    :returns: the document, whose title then is not in its text.
    """
    text = document.text.lstrip()
    heading = HEADING.match(text)
    if heading is None or normalized(plain(heading["text"])) != normalized(plain(document.title)):
        return document
    return replace(document, text=text[heading.end() :].lstrip())


def section_pairs(document: CorpusDocument) -> Iterator[Texts]:
    """Yield the headings of a Markdown text, below their document's title, each with its section.

    :param document: a document whose text is Markdown.
    :yields: heading and section.
    """
    headings = list(outside_code(HEADING, document.text))
    for heading, following in zip(headings, [*headings[1:], None], strict=False):
        end = len(document.text) if following is None else following.start()
        section = document.text[heading.end() : end].strip()
        if is_body(section):
            name = plain(heading["text"])
            above = "" if heading["marks"] == "#" else document.title
            yield f"{above} {name}".strip(), section


def definition_pairs(document: CorpusDocument) -> Iterator[Texts]:
    """Yield what a text defines ("A heap is a …"), each as a question with the sentence and the next one.

    :param document: any English document.
    :yields: question and definition.
    """
    spans = list(sentence_spans(document.text))
    for number, (start, end) in enumerate(spans):
        found = _DEFINITION.match(" ".join(document.text[start:end].split()))
        if found and _is_term(found["term"].casefold().split()):
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
            if text and name and is_body(text):
                names = [] if isinstance(node, ast.ClassDef) else [a.arg for a in node.args.args]
                of = ", ".join(argument for argument in names if argument not in ("self", "cls"))
                yield f"{name} of {of}" if of else name, text


PATTERNS: dict[str, Callable[[CorpusDocument], Iterator[Texts]]] = {
    "section": section_pairs,
    "question": question_pairs,
    "definition": definition_pairs,
    "docstring": docstring_pairs,
}


def _is_term(words: list[str]) -> bool:
    return words[0] not in _NO_TERMS and _NEVER_IN_TERMS.isdisjoint(words)
