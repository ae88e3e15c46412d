"""Hard negatives: texts that a search takes for the answer, and that are none.

1. Candidates are the documents at chosen ranks of a search for the anchor: exact in memory, or any other.
2. Whatever may be an answer goes out: every positive known for the anchor, near copies of one, and whatever
   the encoder finds almost as similar to the anchor as the positive. A false negative teaches the opposite
   of what is meant, so a candidate in doubt is no negative.
3. Of the rest the first, or some by lot, become negatives of the pair, and the cosines are kept.

Source of the margin: de Souza Moreira et al. 2024 (NV-Retriever), arXiv:2407.15831, section 3, where 95 % of
the positive's score was the best of the guards compared.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import chain
from random import Random
from typing import Literal

from cl_haystack.data.known_positives import known_positive
from cl_haystack.data.normalization import normalized
from cl_haystack.data.records import CorpusDocument, Pair
from cl_haystack.encoder.exact_search import exact_search
from cl_haystack.encoder.protocol import Search, TextEncoder
from cl_haystack.encoder.vectors import VectorsByKey
from cl_haystack.errors import ConfigurationError, DataError, quote
from cl_haystack.progress import OnProgress, Progress, ignore

_SCORE_DIGITS = 6  # what float32 holds of a cosine
_SEARCHED_AT_ONCE = 256  # anchors; with 50 candidates each at most 12,800 documents to encode

Sampling = Literal["top", "random"]


@dataclass(frozen=True)
class MiningReport:
    """What became of pairs and candidates. A candidate is counted under the first reason that excludes it.

    :param pairs: pairs given.
    :param with_mined: pairs that got at least one new negative; all others stay as they were.
    :param mined: negatives added.
    :param candidates: pairs of a pair and a document that were looked at.
    :param known_positives: excluded: a positive of the anchor, or the document that the pair was drawn from.
    :param near_duplicates: excluded: almost the vector of a positive of the anchor.
    :param too_similar: excluded: within the margin of the positive, or above it.
    :param repeated: excluded: a negative of the pair already, or the text of a candidate ranked higher.
    :param not_in_corpus: documents that the search named and the corpus lacks.
    """

    pairs: int = 0
    with_mined: int = 0
    mined: int = 0
    candidates: int = 0
    known_positives: int = 0
    near_duplicates: int = 0
    too_similar: int = 0
    repeated: int = 0
    not_in_corpus: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


def mine_hard_negatives(
    pairs: Iterable[Pair],
    corpus: Iterable[CorpusDocument],
    encoder: TextEncoder,
    *,
    search: Search | None = None,
    num_negatives: int = 1,
    rank_range: tuple[int, int] = (0, 50),
    relative_margin: float = 0.05,
    absolute_margin: float = 0.0,
    sampling: Sampling = "top",
    duplicate_similarity: float = 0.95,
    seed: int = 42,
    on_progress: OnProgress = ignore,
) -> tuple[list[Pair], MiningReport]:
    """Add hard negatives from a corpus to pairs, behind those that they have.

    The guards compare cosines of ``encoder``, whatever ``search`` found the candidates by. Pairs with
    negatives mined get ``candidate_scores``: cosines of the anchor with the positive and each negative.
    Scores that pairs bring become cosines too, so that all are of one scale. Otherwise pairs for which no
    candidate passes, and pairs with label 0, stay as they are.

    :param pairs: training pairs; equal anchors (case and white space aside) share their positives.
    :param corpus: documents with ids of their own; texts and vectors (float32) are held in memory.
    :param encoder: what measures similarity, and what searches where ``search`` is None.
    :param search: answers anchors with ids of the corpus, best first, such as a live index; None searches
        the whole corpus exactly. Where it is given, only the documents that it names are encoded.
    :param num_negatives: negatives to add to a pair, where as many pass.
    :param rank_range: ranks of the search's answer, known positives included: the first, from 0, and the one
        behind the last.
    :param relative_margin: a negative's cosine is at least this fraction of the positive's below it, 0 to < 1
        (sentence-transformers' meaning); 0.05 leaves at most 95 % of the positive's.
    :param absolute_margin: a negative's cosine is at least this much below the positive's, ≥ 0.
    :param sampling: take the ``top`` of the candidates that pass, or some at ``random``.
    :param duplicate_similarity: a document whose cosine with a positive reaches this is a near copy of it;
        above 1 none is. With all-MiniLM-L6-v2 on 400 abstracts of SciFact, copies in lower case without
        commas reach 0.964, and the nearest other abstract 0.855.
    :param seed: another seed draws other candidates; what a pair draws does not depend on the others.
    :param on_progress: told texts encoded and anchors searched so far.
    :returns: the pairs in the order given, and the counts.
    :raises ConfigurationError: an option is out of its range.
    :raises DataError: the corpus is empty or has an id twice.
    :raises EncodingError: a vector holds NaN or infinity.
    """
    rules = _Rules(
        num_negatives=num_negatives,
        rank_range=rank_range,
        relative_margin=relative_margin,
        absolute_margin=absolute_margin,
        sampling=sampling,
        duplicate_similarity=duplicate_similarity,
        seed=seed,
    )
    miner = _Miner(list(pairs), _by_id(corpus), encoder, search, rules)
    mined = miner.mine(on_progress)
    return mined, MiningReport(**miner.counts)


@dataclass(frozen=True)
class _Rules:
    """Which candidates may become negatives."""

    num_negatives: int
    rank_range: tuple[int, int]
    relative_margin: float
    absolute_margin: float
    sampling: Sampling
    duplicate_similarity: float
    seed: int

    def __post_init__(self) -> None:
        first, end = self.rank_range
        for name, is_valid, expected in (
            ("num_negatives", self.num_negatives >= 1, "1 or more"),
            ("rank_range", 0 <= first < end, "the first rank, from 0, and a larger one behind the last"),
            ("rank_range", self.num_negatives <= end - first, f"at least {self.num_negatives} ranks"),
            (
                "relative_margin",
                0 <= self.relative_margin < 1,
                "a fraction of the positive's cosine, 0 to below 1, such as 0.05",
            ),
            ("absolute_margin", 0 <= self.absolute_margin <= 2, "a difference of cosines, 0 to 2"),
            ("sampling", self.sampling in ("top", "random"), "'top' or 'random'"),
            ("duplicate_similarity", self.duplicate_similarity > 0, "a cosine above 0"),
        ):
            if not is_valid:
                raise ConfigurationError(f"{name} is {getattr(self, name)!r}; expected {expected}")

    def limit(self, positive: float) -> float:
        """Return the highest cosine that a negative may have, also where the positive's is below 0."""
        return min(positive - self.relative_margin * abs(positive), positive - self.absolute_margin)

    def choose(self, passed: list[int], pair: Pair) -> list[int]:
        """Take as many as wanted of the candidates that passed, best first."""
        if self.sampling == "random":
            name = f"{self.seed}\0{pair.anchor}\0{pair.positive}".encode("utf-8", "surrogatepass")
            random = Random(name)  # noqa: S311 - sampling, not cryptography
            passed = sorted(passed, key=lambda candidate: random.random())
        return sorted(passed[: self.num_negatives])


def _by_id(corpus: Iterable[CorpusDocument]) -> dict[str, CorpusDocument]:
    """Hold the documents that can be a negative, without their meta."""
    documents: dict[str, CorpusDocument] = {}
    for document in corpus:
        if document.id in documents:
            raise DataError(f"id {quote(document.id)} is twice in the corpus; rename or remove one")
        if document.content.strip():
            documents[document.id] = CorpusDocument(document.id, document.title, document.text)
    if not documents:
        raise DataError("the corpus holds no text; expected documents to mine negatives from")
    return documents


@dataclass(frozen=True)
class _Candidate:
    """A document found for an anchor, before its pairs are looked at."""

    content: str
    text: str
    """The normalized content."""
    similarity: float
    """Cosine to the anchor."""
    exclusion: str | None
    """Why it is no negative for any pair of the anchor."""


class _Miner:
    """The pairs by anchor, the corpus, and the vectors of all of them."""

    def __init__(
        self,
        pairs: list[Pair],
        documents: dict[str, CorpusDocument],
        encoder: TextEncoder,
        search: Search | None,
        rules: _Rules,
    ) -> None:
        self.counts = Counter(pairs=len(pairs))
        self._pairs = pairs
        self._documents = documents
        self._search = search
        self._rules = rules
        self._anchors = VectorsByKey(encoder.encode_queries)
        self._texts = VectorsByKey(encoder.encode_documents)
        self._corpus = VectorsByKey(encoder.encode_documents, lambda key: documents[key].content)
        self._positions: dict[str, list[int]] = {}  # of pairs, by anchor
        self._pairs_of: dict[str, list[Pair]] = {}  # by normalized anchor
        for position, pair in enumerate(pairs):
            if pair.label != 0:
                self._positions.setdefault(pair.anchor, []).append(position)
                self._pairs_of.setdefault(normalized(pair.anchor), []).append(pair)

    def mine(self, on_progress: OnProgress) -> list[Pair]:
        """Search for all anchors, some at a time, and give each pair its negatives."""
        mined = list(self._pairs)
        anchors = list(self._positions)
        encoded = self._encode(on_progress)
        for start in range(0, len(anchors), _SEARCHED_AT_ONCE):
            some = anchors[start : start + _SEARCHED_AT_ONCE]
            for anchor, document_ids in zip(some, self._find(some), strict=True):
                candidates = self._candidates(anchor, document_ids)
                for position in self._positions[anchor]:
                    mined[position] = self._with_negatives(mined[position], candidates)
            done = encoded + start + len(some)
            on_progress(Progress(done, encoded + len(anchors), "searching"))
        return mined

    def _encode(self, on_progress: OnProgress) -> int:
        """Encode anchors, positives and negatives, and the corpus where it is searched here; count them."""
        texts = dict.fromkeys(text for pair in self._pairs for text in (pair.positive, *pair.negatives))
        parts: list[tuple[str, VectorsByKey, list[str]]] = [
            ("anchors", self._anchors, list(self._positions)),
            ("positives", self._texts, list(texts)),
            ("documents", self._corpus, list(self._documents) if self._search is None else []),
        ]
        total = sum(len(keys) for *_, keys in parts)
        done = 0
        for note, vectors, keys in parts:

            def told(step: Progress, before: int = done, note: str = note) -> None:
                on_progress(Progress(before + step.done, total + len(self._positions), note))

            vectors.add(keys, told)
            done += len(keys)
        return total

    def _find(self, anchors: list[str]) -> list[list[str]]:
        """Return the ids of the documents at the wanted ranks, which are encoded then."""
        first, end = self._rules.rank_range
        if self._search is None:
            run = exact_search(anchors, self._anchors.of(anchors), self._corpus.windows, top_k=end)
            found = [list(run[anchor])[first:] for anchor in anchors]
        else:
            answers = self._search(anchors, end)
            found = [[document_id for document_id, _ in answer[first:end]] for answer in answers]
        known = [[document_id for document_id in ids if document_id in self._documents] for ids in found]
        self.counts["not_in_corpus"] += sum(map(len, found)) - sum(map(len, known))
        self._corpus.add(chain.from_iterable(known))
        return known

    def _candidates(self, anchor: str, document_ids: list[str]) -> list[_Candidate]:
        """Compare the documents with the anchor and all its positives."""
        if not document_ids:
            return []
        pairs = self._pairs_of[normalized(anchor)]
        vectors = self._corpus.of(document_ids)  # (candidates, dim)
        similarities = vectors @ self._anchors.of([anchor])[0]  # (candidates,)
        closest = (vectors @ self._texts.of([pair.positive for pair in pairs]).T).max(axis=1)  # (candidates,)
        is_known = known_positive(anchor, pairs)
        candidates = []
        for row, document_id in enumerate(document_ids):
            document = self._documents[document_id]
            exclusion = None
            if is_known(document):
                exclusion = "known_positives"
            elif closest[row] >= self._rules.duplicate_similarity:
                exclusion = "near_duplicates"
            content = document.content
            candidates.append(_Candidate(content, normalized(content), float(similarities[row]), exclusion))
        return candidates

    def _with_negatives(self, pair: Pair, candidates: list[_Candidate]) -> Pair:
        anchor = self._anchors.of([pair.anchor])[0]  # (dim,)
        own = [float(cosine) for cosine in self._texts.of([pair.positive, *pair.negatives]) @ anchor]
        limit = self._rules.limit(own[0])
        taken = {normalized(text) for text in pair.negatives}
        passed = []
        for rank, candidate in enumerate(candidates):
            exclusion = candidate.exclusion
            if exclusion is None and candidate.similarity > limit:
                exclusion = "too_similar"
            elif exclusion is None and candidate.text in taken:
                exclusion = "repeated"
            if exclusion is None:
                taken.add(candidate.text)
                passed.append(rank)
            else:
                self.counts[exclusion] += 1
        self.counts["candidates"] += len(candidates)
        chosen = [candidates[rank] for rank in self._rules.choose(passed, pair)]
        if not chosen and pair.candidate_scores is None:
            return pair
        self.counts.update(with_mined=bool(chosen), mined=len(chosen))
        scores = [*own, *(candidate.similarity for candidate in chosen)]
        return pair.model_copy(
            update={
                "negatives": (*pair.negatives, *(candidate.content for candidate in chosen)),
                "candidate_scores": tuple(round(score, _SCORE_DIGITS) for score in scores),
            }
        )
