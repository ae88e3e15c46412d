"""Training pairs out of what people have: a bare corpus, or judged queries.

A title names its text the way a query would, so title → body pairs teach a model the vocabulary of a domain
without a single label; without titles, a sentence and its context, or two parts of a text, do the same.
Judgements give the real thing, where somebody made them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from random import Random

from cl_haystack.data.beir import RetrievalTask
from cl_haystack.data.cloze import cloze_pair
from cl_haystack.data.cropping import crop_pair
from cl_haystack.data.normalization import normalized
from cl_haystack.data.patterns import PATTERNS, without_title_heading
from cl_haystack.data.records import CorpusDocument, Pair
from cl_haystack.errors import ConfigurationError, quote

DRAWN_METHODS: dict[str, Callable[[CorpusDocument, Random], tuple[str, str] | None]] = {
    "cloze": cloze_pair,
    "crop": crop_pair,
}
METHODS = ("title", *DRAWN_METHODS, *PATTERNS)


@dataclass
class PairCounts:
    """What became of the records that pairs were made from; filled while the pairs are drawn.

    :param pairs: pairs made.
    :param duplicates: skipped: the same two texts gave a pair before (case and white space aside).
    :param without_title: skipped: documents with no title.
    :param without_text: skipped: documents with no text.
    :param without_pattern: skipped: documents that hold nothing of the kind that a method looks for.
    :param too_short: skipped: documents with too few words or sentences for a method; once a method.
    :param same_text: skipped: both sides are the same text.
    :param missing_documents: skipped: judged documents that the corpus lacks.
    :param not_relevant: judgements of grade 0 or less, from which no pair is made.
    """

    pairs: int = 0
    duplicates: int = 0
    without_title: int = 0
    without_text: int = 0
    without_pattern: int = 0
    too_short: int = 0
    same_text: int = 0
    missing_documents: int = 0
    not_relevant: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


def pairs_from_corpus(
    documents: Iterable[CorpusDocument],
    counts: PairCounts,
    *,
    methods: Sequence[str] = ("title",),
    seed: int = 42,
) -> Iterator[Pair]:
    """Make a pair of each document by each method, which the pair's ``source`` names.

    ``title``: title → text. ``cloze``: a sentence → title and the rest of the text. ``crop``: one part of
    the document → another. ``section``: a Markdown heading → its section. ``question``: a question → its
    answer. ``definition``: what a sentence defines → the sentence and the next. ``docstring``: the name of a
    Python function or class → its docstring. What is drawn depends on seed, method and the document's id
    alone, so a corpus that grows keeps its pairs.

    :param documents: a corpus.
    :param counts: where the counts go.
    :param methods: any of these, each once.
    :param seed: another seed draws other sentences and parts.
    :returns: the pairs, in the order of the corpus.
    :raises ConfigurationError: a method is unknown or named twice, or none is.
    """
    unknown = [method for method in methods if method not in METHODS]
    if unknown or not methods or len(set(methods)) != len(methods):
        found = quote(unknown[0]) if unknown else quote(", ".join(methods))
        raise ConfigurationError(f"methods: found {found}; expected any of {', '.join(METHODS)}, each once")
    return _pairs_from_corpus(documents, _Unique(counts), methods, seed)


def _pairs_from_corpus(
    documents: Iterable[CorpusDocument], unique: "_Unique", methods: Sequence[str], seed: int
) -> Iterator[Pair]:
    for document in documents:
        for method in methods:
            for texts in _texts_of(document, method, unique.counts, seed):
                if unique.admit(*texts):
                    yield Pair(anchor=texts[0], positive=texts[1], source=method, document_id=document.id)


def _texts_of(
    document: CorpusDocument, method: str, counts: PairCounts, seed: int
) -> Iterable[tuple[str, str]]:
    if method in PATTERNS:
        found = list(PATTERNS[method](document))
        counts.without_pattern += not found
        return found
    document = without_title_heading(document)
    drawn = (
        _title_pair(document, counts) if method == "title" else _drawn_pair(document, counts, method, seed)
    )
    return [] if drawn is None else [drawn]


def _title_pair(document: CorpusDocument, counts: PairCounts) -> tuple[str, str] | None:
    if not document.title.strip():
        counts.without_title += 1
    elif not document.text.strip():
        counts.without_text += 1
    else:
        return document.title, document.text
    return None


def _drawn_pair(
    document: CorpusDocument, counts: PairCounts, method: str, seed: int
) -> tuple[str, str] | None:
    name = f"{seed}\0{method}\0{document.id}".encode("utf-8", "surrogatepass")
    texts = DRAWN_METHODS[method](document, Random(name))  # noqa: S311 - sampling, not cryptography
    counts.too_short += texts is None
    return texts


def pairs_from_qrels(
    task: RetrievalTask, counts: PairCounts, *, num_negatives: int = 0, with_scores: bool = False
) -> Iterator[Pair]:
    """Make a pair query → document of each judgement of a grade above 0.

    :param task: judged queries; the corpus is passed over once, only judged documents are held.
    :param counts: where the counts go.
    :param num_negatives: most negatives of a pair, the first documents that were judged not relevant.
    :param with_scores: write the grade as ``score``, the highest of the task as 1.
    :yields: the pairs, in the order of the judgements.
    """
    wanted = {
        document_id
        for grades in task.qrels.values()
        for document_id, grade in grades.items()
        if grade > 0 or num_negatives
    }
    contents = {document.id: document.content for document in task.corpus() if document.id in wanted}
    highest = max((grade for grades in task.qrels.values() for grade in grades.values()), default=1)
    unique = _Unique(counts)
    for query_id, grades in task.qrels.items():
        others = (contents.get(name, "") for name, grade in grades.items() if grade <= 0)
        negatives = tuple(text for text in others if text.strip())[:num_negatives]
        for document_id, grade in grades.items():
            if grade <= 0:
                counts.not_relevant += 1
            elif document_id not in contents:
                counts.missing_documents += 1
            elif not contents[document_id].strip():
                counts.without_text += 1
            elif unique.admit(task.queries[query_id], contents[document_id]):
                yield Pair(
                    anchor=task.queries[query_id],
                    positive=contents[document_id],
                    negatives=negatives,
                    score=grade / highest if with_scores else None,
                    source=task.name,
                    document_id=document_id,
                )


class _Unique:
    """Remembers pairs of texts by a digest: 16 bytes a pair, whatever the texts' length."""

    def __init__(self, counts: PairCounts) -> None:
        self.counts = counts
        self._seen: set[bytes] = set()

    def admit(self, anchor: str, positive: str) -> bool:
        anchor, positive = normalized(anchor), normalized(positive)
        if anchor == positive:
            self.counts.same_text += 1
            return False
        digest = blake2b(f"{anchor}\0{positive}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in self._seen:
            self.counts.duplicates += 1
            return False
        self._seen.add(digest)
        self.counts.pairs += 1
        return True
