"""Real text that every machine has: the docstrings of the Python standard library that is running.

A docstring by convention (PEP 257) is a summary line and a body, that is, a question-like sentence and the
text that belongs to it, written by people. The library's source is parsed, never imported or run.
"""

import ast
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cl_haystack.progress import OnProgress, Progress, ignore

_SUMMARY_WORDS = range(3, 41)  # fewer say nothing ("Initialize."), more are no summary
_MIN_BODY_CHARS = 60
_LEFT_OUT = {"site-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo", "ensurepip", "__pycache__"}


@dataclass(frozen=True)
class Docstring:
    """One documented object.

    :param name: dotted name, such as ``json.decoder.JSONDecoder.raw_decode``.
    :param module: top-level package or module, such as ``json``, without leading underscores (``_pyio`` is
        ``pyio``): the group that splits are made by.
    :param summary: the first paragraph, on one line.
    :param body: everything after it.
    """

    name: str
    module: str
    summary: str
    body: str


def read_stdlib_docstrings(on_progress: OnProgress = ignore) -> list[Docstring]:
    """Collect every docstring that has a summary and a body, in the order of the names.

    :param on_progress: told each source file.
    :returns: docstrings, each body once: where objects share one, the first name has it.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(file for file in root.rglob("*.py") if _is_wanted(file.relative_to(root)))
    found: dict[tuple[str, str], Docstring] = {}
    bodies: set[str] = set()
    for done, file in enumerate(files, start=1):
        for docstring in _read_file(file, root):
            if docstring.body not in bodies:
                bodies.add(docstring.body)
                found[(docstring.name, docstring.summary)] = docstring
        on_progress(Progress(done, len(files)))
    return sorted(found.values(), key=lambda docstring: (docstring.name, docstring.summary))


def _is_wanted(file: Path) -> bool:
    return not _LEFT_OUT & set(file.parts) and not file.parts[0].startswith(("config-", "__"))


def _read_file(file: Path, root: Path) -> Iterator[Docstring]:
    parts = file.relative_to(root).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, OSError):
        return  # the library ships templates and files in other encodings
    yield from _walk(tree, module)


def _walk(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Iterator[Docstring]:
    text = ast.get_docstring(node)
    if text:
        head, _, body = text.strip().partition("\n\n")
        summary = " ".join(head.split())
        if len(summary.split()) in _SUMMARY_WORDS and len(body.strip()) >= _MIN_BODY_CHARS:
            yield Docstring(name, name.partition(".")[0].lstrip("_"), summary, " ".join(body.split()))
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _walk(child, f"{name}.{child.name}")
