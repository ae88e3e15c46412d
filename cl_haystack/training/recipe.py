"""The default recipe: what to train on, beside the pairs as they are.

1. Each pair gets hard negatives: documents that the base model takes for the answer, with a margin that
   keeps unknown answers out. They come from the user's own documents, or else from other pairs' positives.
   Without them a model gets better at documents that it was trained on, and worse at all others.
2. On demand the user's documents themselves become pairs without a label.

docs/experiments.md has the figures that chose it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import count
from operator import itemgetter
from random import Random

from cl_haystack.data import (
    CorpusDocument,
    MiningReport,
    Pair,
    PairCounts,
    mine_hard_negatives,
    pairs_from_corpus,
)
from cl_haystack.encoder.protocol import TextEncoder
from cl_haystack.progress import OnProgress, ignore
from cl_haystack.training.sampling import text_id

MAX_MINED_PAIRS = 100_000
"""More pairs than this get negatives only from a corpus that is given: mining would take hours."""


def positives_of(pairs: Iterable[Pair]) -> list[CorpusDocument]:
    """Return what takes the place of a corpus that is not given: the positives, each once.

    :param pairs: training pairs.
    :returns: one document a positive.
    """
    return [
        CorpusDocument(id=str(i), text=text)
        for i, text in enumerate(dict.fromkeys(pair.positive for pair in pairs))
    ]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is drawn from documents.

    :param num_negatives: hard negatives mined for each pair; three gain a little more than one and take twice
        the time.
    :param relative_margin: a negative's cosine is at least this fraction of the positive's below it.
    :param methods: how documents become pairs; see :func:`~cl_haystack.data.pairs_from_corpus`. None by
        default: beside mined negatives such pairs took more than they gave.
    :param documents_per_pair: most documents to draw from, for each pair; of more a sample is taken. Encoding
        ten of 256 tokens takes a CPU about half as long as three epochs of training on the pair.
    :param min_documents: so many are drawn from however few pairs there are.
    :param max_pairs: most pairs made of documents, a sample where there are more: a few minutes of training.
    :param seed: of what is drawn.
    """

    num_negatives: int = 1
    relative_margin: float = 0.05
    methods: tuple[str, ...] = ()
    documents_per_pair: int = 10
    min_documents: int = 10_000
    max_pairs: int = 10_000
    seed: int = 42

    def sample_of(
        self, documents: Iterable[CorpusDocument], num_pairs: int
    ) -> tuple[list[CorpusDocument], int]:
        """Take as many documents as are worth the time that it takes to encode them.

        A document's id and the seed decide, so a corpus that grows keeps most of its sample.

        :param documents: any number of documents, drawn once; only the sample is held in memory.
        :param num_pairs: how many pairs they are for.
        :returns: the sample in the order given, and how many documents there were.
        """
        most = max(self.min_documents, self.documents_per_pair * num_pairs)
        numbers = count()
        by_lot = ((text_id(f"{self.seed} {entry.id}"), next(numbers), entry) for entry in documents)
        sample = sorted(nsmallest(most, by_lot), key=itemgetter(1))
        return [document for _, _, document in sample], next(numbers)

    def pairs_of(self, documents: Iterable[CorpusDocument]) -> list[Pair]:
        """Make pairs of documents.

        :param documents: the user's documents.
        :returns: the pairs, each with its method as ``source``.
        """
        if not self.methods:
            return []
        made = list(pairs_from_corpus(documents, PairCounts(), methods=self.methods, seed=self.seed))
        if len(made) <= self.max_pairs:
            return made
        return Random(self.seed).sample(made, self.max_pairs)  # noqa: S311 - sampling, not cryptography

    def with_negatives(
        self,
        pairs: Sequence[Pair],
        documents: Iterable[CorpusDocument],
        encoder: TextEncoder,
        *,
        on_progress: OnProgress = ignore,
    ) -> tuple[list[Pair], MiningReport]:
        """Mine hard negatives.

        :param pairs: the user's pairs.
        :param documents: the user's documents.
        :param encoder: the base model, which finds the negatives.
        :param on_progress: told texts encoded and anchors searched so far.
        :returns: the pairs with negatives, and what mining found.
        """
        return mine_hard_negatives(
            pairs,
            documents,
            encoder,
            num_negatives=self.num_negatives,
            relative_margin=self.relative_margin,
            seed=self.seed,
            on_progress=on_progress,
        )
