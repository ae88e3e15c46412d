"""Documents out of a folder of files, and out of Haystack documents, in the form that pairs are made of.

Haystack's own converters read the files: Markdown and text as they are, HTML reduced to what it says, as
Markdown with its headings, so that pairs of a heading and its section can be made of it.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import yaml

from cl_haystack.data.markdown import HEADING, plain
from cl_haystack.data.records import CorpusDocument
from cl_haystack.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from haystack import Document


_HTML = (".html", ".htm")
_MARKDOWN = (".md", ".markdown")
_WITH_HEADINGS = (*_MARKDOWN, *_HTML)  # a line of others that begins with # is a comment, or anything
ENDINGS = (*_WITH_HEADINGS, ".txt", ".rst", ".py")
"""Files that are read; all others are counted."""
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?P<yaml>.*?\n)---[ \t]*(?:\n|\Z)", re.DOTALL)


@dataclass
class FolderCounts:
    """What became of the files of a folder; filled while they are read.

    :param documents: documents read.
    :param other_files: how many files have another ending, by ending.
    :param unreadable: names of files that cannot be read or hold no text.
    """

    documents: int = 0
    other_files: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)


def read_folder(folder: str | Path, counts: FolderCounts) -> Iterator[CorpusDocument]:
    """Read the documents of a folder and all below, in the order of their names.

    The path below the folder is the id. The title is the one that Markdown states in front matter, the
    heading that Markdown or HTML begins with, the title of an HTML page, or the name of the file.

    :param folder: the folder.
    :param counts: where the counts go.
    :yields: the documents, one at a time.
    :raises DataError: there is no such folder.
    :raises MissingExtraError: there is HTML, and trafilatura is not installed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError("found no folder; check the path", path=folder)
    converters: dict[bool, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        # Systems allow names that are no UTF-8, pairs do not.
        name = os.fsencode(path.relative_to(folder).as_posix()).decode(errors="replace")
        ending = PurePath(name).suffix.lower()
        if ending not in ENDINGS:
            counts.other_files[ending] += 1
            continue
        is_html = ending in _HTML
        if is_html not in converters:
            converters[is_html] = _html_converter() if is_html else _text_converter()
        text, stated = _convert(path, converters[is_html]), ""
        if ending in _MARKDOWN:
            text, stated = _without_front_matter(text)
        if text.strip():
            counts.documents += 1
            title = stated or _heading(text, ending) or (_page_title(path) if is_html else "")
            yield CorpusDocument(id=name, title=title or _words_of(name), text=text)
        else:
            counts.unreadable.append(name)


def from_haystack_documents(documents: "Iterable[Document]") -> Iterator[CorpusDocument]:
    """Turn Haystack documents into those that pairs are made of.

    :param documents: any; those without text, such as images, give a document without text.
    :yields: the same ids; ``meta["title"]`` is the title, and is cut off where the content begins with it.
    """
    for document in documents:
        title, text = str(document.meta.get("title") or ""), document.content or ""
        meta = {name: value for name, value in document.meta.items() if name != "title"}
        if title and text.startswith(f"{title} "):
            text = text.removeprefix(f"{title} ")
        yield CorpusDocument(id=document.id, title=title, text=text, meta=meta)


def _convert(path: Path, converter: Any) -> str:
    found = converter.run(sources=[path])["documents"]
    text = "\n\n".join(document.content or "" for document in found)
    return text.replace("\r\n", "\n")  # of Windows


def _text_converter() -> Any:
    from haystack.components.converters import TextFileToDocument

    return TextFileToDocument()


def _html_converter() -> Any:
    try:
        import trafilatura  # noqa: F401 - Haystack asks for it at the first file only
    except ImportError:
        raise MissingExtraError("trafilatura", "pairs") from None
    from haystack.components.converters import HTMLToDocument

    return HTMLToDocument(extraction_kwargs={"output_format": "markdown", "include_formatting": True})


def _without_front_matter(text: str) -> tuple[str, str]:
    """Cut off the YAML that makers of sites put before Markdown; return the rest, and the title it states."""
    found = _FRONT_MATTER.match(text)
    try:
        facts = yaml.safe_load(found["yaml"]) if found else None
    except (yaml.YAMLError, ValueError, RecursionError):  # a date that is none is a ValueError
        facts = None
    if found is None or not isinstance(facts, dict):
        return text, ""
    title = facts.get("title")
    return text[found.end() :], title.strip() if isinstance(title, str) else ""


def _heading(text: str, ending: str) -> str:
    heading = HEADING.match(text.lstrip()) if ending in _WITH_HEADINGS else None
    return plain(heading["text"]) if heading else ""


def _page_title(path: Path) -> str:
    """Return the title that a page states, which may stand outside of what it says."""
    import trafilatura

    metadata = trafilatura.extract_metadata(path.read_text(encoding="utf-8", errors="replace"))
    return (metadata.title or "") if metadata else ""


def _words_of(name: str) -> str:
    return PurePath(name).stem.replace("_", " ").replace("-", " ")
