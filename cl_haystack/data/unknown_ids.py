"""What judgements and the other files of a retrieval task do not know of each other, line by line."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cl_haystack.data.beir import read_qrels, read_queries
from cl_haystack.data.corpus import read_corpus
from cl_haystack.data.lines import read_text_lines
from cl_haystack.errors import quote

_NAMED = 5


@dataclass(frozen=True)
class UnknownIds:
    """Ids that one file names and another lacks.

    :param path: the file of judgements.
    :param queries: judged queries without text, each with the line of its first judgement.
    :param documents: judged documents that the corpus lacks, each with the line of its first judgement.
    :param unjudged: queries that no split judges.
    """

    path: Path
    queries: dict[str, int] = field(default_factory=dict)
    documents: dict[str, int] = field(default_factory=dict)
    unjudged: tuple[str, ...] = ()

    def describe(self) -> Iterator[str]:
        """Yield a line for people about each kind that there is."""
        for what, found in (("queries", self.queries), ("documents", self.documents)):
            if found:
                names = [
                    f"{self.path.name}:{line} {quote(name)}" for name, line in list(found.items())[:_NAMED]
                ]
                verb = "have no text" if what == "queries" else "are not in the corpus"
                yield f"{len(found):,} judged {what} {verb}: {_first(names, len(found))}"
        if self.unjudged:
            names = [quote(name) for name in self.unjudged[:_NAMED]]
            count = len(self.unjudged)
            yield f"{count:,} queries have no judgement in any split: {_first(names, count)}"


def find_unknown_ids(directory: str | Path, split: str) -> UnknownIds:
    """Compare the judgements of a split with queries and corpus.

    :param directory: a directory in BEIR's layout.
    :param split: which judgements.
    :returns: what does not fit.
    :raises DataError: a file is missing or broken.
    """
    directory = Path(directory)
    path = directory / "qrels" / f"{split}.tsv"
    qrels, queries = read_qrels(path), read_queries(directory / "queries.jsonl")
    wanted = {document for grades in qrels.values() for document in grades}
    missing = wanted - {
        d.id for d in read_corpus(directory / "corpus.jsonl", unique_ids=False) if d.id in wanted
    }
    unknown_queries, unknown_documents = dict[str, int](), dict[str, int]()
    for line, text in read_text_lines(path):
        cells = [cell.strip() for cell in text.split("\t")]
        if len(cells) > 1:
            if cells[0] in qrels and cells[0] not in queries:
                unknown_queries.setdefault(cells[0], line)
            if cells[1] in missing:
                unknown_documents.setdefault(cells[1], line)
    judged = set().union(*(read_qrels(file) for file in sorted((directory / "qrels").glob("*.tsv"))))
    unjudged = tuple(query for query in queries if query not in judged)
    return UnknownIds(path, unknown_queries, unknown_documents, unjudged)


def _first(names: list[str], count: int) -> str:
    return ", ".join(names) + (", …" if count > len(names) else "")
