"""What evaluation data shares with training pairs, so that nobody takes memory for skill.

Three things are looked for: evaluation queries that stand in a training pair, evaluation queries that say
almost the same as a training anchor, and relevant documents that training pairs were made of. The last is no
fault of the data, but a gain on known documents says little about new ones.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cl_haystack.data.beir import RetrievalTask
from cl_haystack.data.normalization import normalized, words
from cl_haystack.data.records import Pair

NEAR_DUPLICATE = 0.6
"""Jaccard similarity of word sets from which on two texts count as near-duplicates."""
MIN_PART_WORDS = 8
"""Words from which on a text is no part of another by chance: of SciFact's 283 relevant documents one or more
held eight words in a row of another abstract for 0.5 % of 4,900 abstracts, five for 9 %."""


@dataclass(frozen=True)
class Overlap:
    """What an evaluation task shares with training pairs; queries are named by id, in the task's order.

    :param task: name of the task.
    :param num_queries: queries of the task.
    :param num_pairs: training pairs.
    :param exact_queries: queries that are an anchor, positive or negative, case and white space aside.
    :param near_duplicate_queries: queries whose words are almost those of an anchor, the same ones included.
    :param seen_documents: relevant documents that are the positive of a pair (the whole document, or its text
        without the title) or hold its texts, by query; queries without one are not in it.
    :param unseen_queries: all other queries: no pair was made of what they ask for.
    """

    task: str
    num_queries: int
    num_pairs: int
    exact_queries: tuple[str, ...]
    near_duplicate_queries: tuple[str, ...]
    seen_documents: Mapping[str, tuple[str, ...]]
    unseen_queries: tuple[str, ...]

    @property
    def num_exact(self) -> int:
        """Number of queries that stand in a training pair."""
        return len(self.exact_queries)

    @property
    def num_near_duplicates(self) -> int:
        """Number of queries that are near-duplicates of an anchor."""
        return len(self.near_duplicate_queries)

    @property
    def num_seen(self) -> int:
        """Number of queries with a relevant document that a pair was made of."""
        return len(self.seen_documents)

    @property
    def num_unseen(self) -> int:
        """Number of queries without one."""
        return len(self.unseen_queries)

    def counts(self) -> dict[str, str | int]:
        """Return the overlap in numbers of queries, for a checkpoint's record."""
        return {
            "task": self.task,
            "queries": self.num_queries,
            "exact_queries": self.num_exact,
            "near_duplicate_queries": self.num_near_duplicates,
            "queries_with_seen_documents": self.num_seen,
        }

    def describe(self) -> str:
        """Return the overlap as a sentence for people."""
        if not (self.num_exact or self.num_near_duplicates or self.num_seen):
            return f"{self.task} shares no query and no relevant document with the {self.num_pairs:,} pairs"
        return (
            f"of {self.num_queries:,} queries of {self.task}, {self.num_exact:,} stand in a training pair, "
            f"{self.num_near_duplicates:,} are near-duplicates of a training anchor, and {self.num_seen:,} "
            "have a relevant document that a training pair was made of; look at the "
            f"{self.num_unseen:,} others for what the model does on documents it was not trained on"
        )


def find_overlap(pairs: Iterable[Pair], task: RetrievalTask) -> Overlap:
    """Find out what an evaluation task shares with training pairs.

    A pair was made of a document that is its positive, with or without title, that its ``document_id`` names,
    if the text fits (other corpora may have the same ids), or that holds all its words: a part of it, then.

    :param pairs: training pairs, passed over once.
    :param task: queries, judgements, corpus; the corpus is passed over once, and what is held grows with the
        number of queries and their relevant documents alone.
    :returns: ids of the queries and documents concerned.
    """
    queries = _ids_by_text(task.queries)
    relevant = _RelevantDocuments(task)
    similar = SimilarTexts(task.queries)
    exact: set[str] = set()
    near: set[str] = set()
    seen: set[str] = set()
    num_pairs = 0
    for pair in pairs:
        num_pairs += 1
        for text in (pair.anchor, pair.positive, *pair.negatives):
            exact.update(queries.get(normalized(text), ()))
        near.update(similar.find(pair.anchor))
        seen.update(relevant.that_gave(pair))
    found = {query_id: task.relevant(query_id) & seen for query_id in task.queries}
    return Overlap(
        task=task.name,
        num_queries=len(task.queries),
        num_pairs=num_pairs,
        exact_queries=tuple(query_id for query_id in task.queries if query_id in exact),
        near_duplicate_queries=tuple(query_id for query_id in task.queries if query_id in near),
        seen_documents={query_id: tuple(sorted(ids)) for query_id, ids in found.items() if ids},
        unseen_queries=tuple(query_id for query_id, ids in found.items() if not ids),
    )


def fits(num_shared: int, num_words: int) -> bool:
    """Tell whether a text may be from the document that a pair names: other corpora may have the same ids.

    :param num_shared: distinct words of the text that the document has.
    :param num_words: distinct words of the text.
    :returns: True where the document has nearly all of them.
    """
    return num_shared > 0 and num_shared >= NEAR_DUPLICATE * num_words


def _ids_by_text(texts: Mapping[str, str]) -> dict[str, list[str]]:
    ids: dict[str, list[str]] = defaultdict(list)
    for text_id, text in texts.items():
        ids[normalized(text)].append(text_id)
    return ids


class _RelevantDocuments:
    """The relevant documents of a task, by their texts, with and without title, and by the words in them."""

    def __init__(self, task: RetrievalTask) -> None:
        self._ids = set[str]().union(*map(task.relevant, task.queries))
        self._by_text: dict[str, set[str]] = defaultdict(set)
        self._by_word: dict[str, set[str]] = defaultdict(set)
        for document in task.corpus():
            if document.id in self._ids:
                for text in (document.content, document.text):
                    self._by_text[normalized(text)].add(document.id)
                for word in words(document.content):
                    self._by_word[word].add(document.id)

    def that_gave(self, pair: Pair) -> set[str]:
        """Return the ids of the documents that a pair was made of."""
        found = set(self._by_text.get(normalized(pair.positive), ()))
        if pair.document_id in self._ids and self._fits(pair.positive, pair.document_id):
            found.add(pair.document_id)
        anchor = words(pair.anchor)
        if holding := self._holding(anchor):  # for few pairs: their positives' words take time
            positive = words(pair.positive)
            if len(anchor | positive) >= MIN_PART_WORDS:
                found |= holding & self._holding(positive)
        return found

    def _fits(self, text: str, document_id: str) -> bool:
        found = words(text)
        return fits(sum(document_id in self._by_word.get(word, ()) for word in found), len(found))

    def _holding(self, found: frozenset[str]) -> set[str]:
        """Return the ids of the documents that hold all of some words."""
        holding = sorted((self._by_word.get(word, set()) for word in found), key=len)
        return set.intersection(*holding) if holding else set()


class SimilarTexts:
    """Finds the texts whose words are almost those of another, without comparing it with all of them.

    Words are put in one order, rare ones first. Two sets with a Jaccard similarity of at least t share one of
    the first ``n - ceil(t * n) + 1`` words of either, n being its size, so only texts that are indexed under
    such a word are compared.

    Source: Chaudhuri et al. 2006, "A primitive operator for similarity joins in data cleaning" (ICDE), the
    prefix filter.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._words = {text_id: words(text) for text_id, text in texts.items()}
        self._frequency = Counter(word for found in self._words.values() for word in found)
        self._ids: dict[str, list[str]] = defaultdict(list)
        for text_id, found in self._words.items():
            for word in self._prefix(found):
                self._ids[word].append(text_id)

    def find(self, text: str) -> set[str]:
        """Return the ids of all texts that are near-duplicates of a text."""
        found = words(text)
        candidates = {text_id for word in self._prefix(found) for text_id in self._ids.get(word, ())}
        return {text_id for text_id in candidates if _jaccard(found, self._words[text_id]) >= NEAR_DUPLICATE}

    def _prefix(self, found: frozenset[str]) -> list[str]:
        length = len(found) - math.ceil(NEAR_DUPLICATE * len(found) - 1e-9) + 1  # 0.6 * 35 may be above 21
        return sorted(found, key=lambda word: (self._frequency[word], word))[:length]


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
