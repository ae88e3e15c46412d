"""Every exception this project raises on purpose, on one screen.

    CLHaystackError
    ├── BundleError              a model bundle that is missing, damaged, unsafe or of another format
    ├── HubError                 a repository of the Hugging Face hub that cannot be reached or used
    ├── CheckpointError          a checkpoint that cannot be read or written
    ├── DataError                pairs, corpora, queries or judgements that cannot be read  (path, line)
    ├── ConfigurationError       an option or a combination of options that cannot work
    ├── MissingExtraError        a library that an extra of this distribution installs is absent
    ├── TrainingError            training cannot start or go on
    │   └── TrainingInterruptedError   a signal asked training to stop; its state is saved
    ├── ExportError              a checkpoint that cannot be exported, or an export that failed its proof
    ├── EncodingError            texts or a device that the encoder cannot use
    ├── IndexingError            documents that cannot be written, or an index that cannot be used
    │   ├── SpaceMismatchError   an index and a model whose vectors are not comparable
    │   ├── AdoptionError        an index whose vectors a model does not make of its documents
    │   └── RejectedDocumentsError   some documents were refused; all others were written
    ├── ServerUnavailableError   no usable OpenSearch answers at a URL
    └── LocalServerError         the local OpenSearch server cannot be installed, started or stopped
        └── DownloadError        a file of it cannot be fetched

A message says what was found, what was expected and what to do. Programs read the attributes.
"""

from pathlib import Path

MAX_QUOTED_CHARS = 80


def quote(text: str) -> str:
    """Return ``text`` as a one-line quotation of at most 80 characters, for use in a message."""
    line = " ".join(text.split())
    return repr(line if len(line) <= MAX_QUOTED_CHARS else line[: MAX_QUOTED_CHARS - 1] + "…")


class CLHaystackError(Exception):
    """Base of all errors that this project raises on purpose."""


class BundleError(CLHaystackError):
    """A model bundle is missing, damaged, unsafe, or of a format that this version does not read."""

    def __init__(self, path: Path | str, problem: str) -> None:
        self.path = Path(path)
        self.problem = problem
        super().__init__(f"{path}: {problem}")


class HubError(CLHaystackError):
    """A repository of the Hugging Face hub cannot be reached or used."""

    def __init__(self, repo_id: str, problem: str) -> None:
        self.repo_id = repo_id
        self.problem = problem
        super().__init__(
            f"repository '{repo_id}' on the Hugging Face hub: {problem}; check its name, your network and "
            "your access (`hf auth login`)"
        )


class CheckpointError(CLHaystackError):
    """A checkpoint cannot be read or written."""

    def __init__(self, path: Path | str, problem: str) -> None:
        self.path = Path(path)
        self.problem = problem
        super().__init__(f"{path}: {problem}")


class DataError(CLHaystackError):
    """Training or evaluation data that cannot be used; names the file and the line where they are known."""

    def __init__(self, problem: str, *, path: Path | str | None = None, line: int | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.line = line
        self.problem = problem
        where = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(where + problem)


class ConfigurationError(CLHaystackError):
    """An option, or a combination of options, that cannot work."""


class MissingExtraError(CLHaystackError):
    """A library that one of our extras installs is absent."""

    def __init__(self, library: str, extra: str) -> None:
        self.library = library
        self.extra = extra
        super().__init__(
            f"this needs {library}, which is not installed; run: pip install 'cl-haystack[{extra}]'"
        )


class TrainingError(CLHaystackError):
    """Training cannot start or cannot go on."""


class TrainingInterruptedError(TrainingError):
    """A signal asked training to stop; its state is saved, and the run can go on from there."""

    def __init__(self, problem: str, *, signal: int) -> None:
        self.signal = signal
        super().__init__(problem)


class ExportError(CLHaystackError):
    """A checkpoint cannot be exported, or its export failed the proof against torch."""


class EncodingError(CLHaystackError):
    """The encoder cannot use the texts or the device that it was given."""


class IndexingError(CLHaystackError):
    """Documents cannot be written, or an index cannot be used."""


class SpaceMismatchError(IndexingError):
    """The vectors of an index and those of a model are not comparable."""

    def __init__(self, *, index: str, found: str, expected: str, way_out: str | None = None) -> None:
        self.index = index
        self.found = found
        self.expected = expected
        super().__init__(
            f"index '{index}' holds vectors of {found}, but the model in use is {expected}; their vectors "
            f"are not comparable: {way_out or 'open the index with the model it was built with'}, or "
            "re-embed its documents into a new index"
        )


class AdoptionError(IndexingError):
    """The vectors of an index are not those that a model makes of its documents.

    ``differing`` maps the ids of documents to how their vectors differ, the worst first.
    """

    def __init__(
        self,
        *,
        index: str,
        model: str,
        sampled: int,
        lowest_cosine: float,
        min_cosine: float,
        differing: dict[str, str],
    ) -> None:
        self.index = index
        self.sampled = sampled
        self.lowest_cosine = lowest_cosine
        self.min_cosine = min_cosine
        self.differing = differing
        named = "; ".join(f"{quote(key)}: {how}" for key, how in list(differing.items())[:5])
        super().__init__(
            f"index '{index}': {len(differing):,} of {sampled:,} sampled documents have other vectors than "
            f"{model} makes of them (lowest cosine {lowest_cosine:.4f}, expected at least {min_cosine}; "
            f"{named}); the index stays as it was. Take the model, prefixes, normalization and max_length "
            "it was made with; if meta fields were embedded too, name them; or index its documents into a "
            "new index"
        )


class RejectedDocumentsError(IndexingError):
    """Some documents were refused; all others were written.

    ``rejections`` maps the ids of the first ones to the reasons; ``count`` is the number of all.
    """

    def __init__(self, *, index: str, count: int, rejections: dict[str, str]) -> None:
        self.index = index
        self.count = count
        self.rejections = rejections
        shown = "; ".join(f"{quote(document_id)}: {reason}" for document_id, reason in rejections.items())
        more = f" (the first {len(rejections)})" if len(rejections) < count else ""
        super().__init__(
            f"index '{index}': {count:,} documents were refused, all others were written{more}: {shown}; "
            "correct them and index them again, or pass a dead-letter file to collect them"
        )


class ServerUnavailableError(CLHaystackError):
    """No usable OpenSearch answers at a URL."""

    def __init__(self, url: str, problem: str) -> None:
        self.url = url
        self.problem = problem
        super().__init__(f"OpenSearch at {url}: {problem}")


class LocalServerError(CLHaystackError):
    """The local OpenSearch server cannot be installed, started or stopped."""


class DownloadError(LocalServerError):
    """A file of the local OpenSearch server cannot be fetched."""
