"""Training pairs out of what people have: a corpus with titles, or judged queries.

A title names its text the way a query would, so title → body pairs teach a model the vocabulary of a domain
without a single label. Judgements give the real thing, where somebody made them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b

from cl_haystack.data.beir import RetrievalTask
from cl_haystack.data.records import CorpusDocument, Pair


@dataclass
class PairCounts:
    """What became of the records that pairs were made from; filled while the pairs are drawn.

    :param pairs: pairs made.
    :param duplicates: skipped: the same two texts gave a pair before (case and white space aside).
    :param without_title: skipped: documents with no title.
    :param without_text: skipped: documents with no text.
    :param same_text: skipped: both sides are the same text.
    :param missing_documents: skipped: judged documents that the corpus lacks.
    :param not_relevant: judgements of grade 0 or less, from which no pair is made.
    """

    pairs: int = 0
    duplicates: int = 0
    without_title: int = 0
    without_text: int = 0
    same_text: int = 0
    missing_documents: int = 0
    not_relevant: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


def pairs_from_corpus(documents: Iterable[CorpusDocument], counts: PairCounts) -> Iterator[Pair]:
    """Make a pair title → text of each document that has both.

    :param documents: a corpus.
    :param counts: where the counts go.
    :yields: the pairs, in the order of the corpus.
    """
    unique = _Unique(counts)
    for document in documents:
        if not document.title.strip():
            counts.without_title += 1
        elif not document.text.strip():
            counts.without_text += 1
        elif unique.admit(document.title, document.text):
            yield Pair(anchor=document.title, positive=document.text, source="title")


def pairs_from_qrels(task: RetrievalTask, counts: PairCounts) -> Iterator[Pair]:
    """Make a pair query → document of each judgement of a grade above 0.

    :param task: judged queries; the corpus is passed over once, only relevant documents are held.
    :param counts: where the counts go.
    :yields: the pairs, in the order of the judgements.
    """
    relevant = {
        document_id for grades in task.qrels.values() for document_id, grade in grades.items() if grade > 0
    }
    contents = {document.id: document.content for document in task.corpus() if document.id in relevant}
    unique = _Unique(counts)
    for query_id, grades in task.qrels.items():
        for document_id, grade in grades.items():
            if grade <= 0:
                counts.not_relevant += 1
            elif document_id not in contents:
                counts.missing_documents += 1
            elif not contents[document_id].strip():
                counts.without_text += 1
            elif unique.admit(task.queries[query_id], contents[document_id]):
                yield Pair(anchor=task.queries[query_id], positive=contents[document_id], source=task.name)


class _Unique:
    """Remembers pairs of texts by a digest: 16 bytes a pair, whatever the texts' length."""

    def __init__(self, counts: PairCounts) -> None:
        self._counts = counts
        self._seen: set[bytes] = set()

    def admit(self, anchor: str, positive: str) -> bool:
        anchor, positive = _normalized(anchor), _normalized(positive)
        if anchor == positive:
            self._counts.same_text += 1
            return False
        digest = blake2b(f"{anchor}\0{positive}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in self._seen:
            self._counts.duplicates += 1
            return False
        self._seen.add(digest)
        self._counts.pairs += 1
        return True


def _normalized(text: str) -> str:
    return " ".join(text.casefold().split())
