"""One data set of a training run: its pairs, the loss that they are for, and where they come from."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, TypeVar

from cl_haystack.data import Pair
from cl_haystack.errors import DataError
from cl_haystack.training.losses import InfoNCE, Loss
from cl_haystack.training.pair_table import OPTIONAL_COLUMNS, PairTable, as_pair

_ROWS_AT_ONCE = 1_000
T = TypeVar("T")


class TrainingSet:
    """Pairs with a loss.

    :param pairs: training pairs; hard negatives may differ in number from row to row. Drawn once, kept on
        disk.
    :param loss: None takes InfoNCE.
    :param name: for messages and the checkpoint's record.
    :param num_epochs: passes over this set; None takes the configuration's.
    :param remine: mines the negatives of these pairs again with the model as it is; None leaves them.
    :param remine_every: epochs between two minings.
    :param provenance: where the pairs come from (path, sha256, bytes, licence, source).
    :raises DataError: there are no pairs, or their columns are not those that the loss works on.
    """

    def __init__(
        self,
        pairs: Iterable[Pair],
        *,
        loss: Loss | None = None,
        name: str = "pairs",
        num_epochs: int | None = None,
        remine: Callable[[], Iterable[Pair]] | None = None,
        remine_every: int = 1,
        provenance: dict[str, Any] | None = None,
    ) -> None:
        self.loss = loss or InfoNCE()
        self.name = name
        self.num_epochs = num_epochs
        self.remine = remine
        self.remine_every = remine_every
        self.provenance = provenance or {}
        self.given = PairTable(pairs)
        """The pairs as they were given: the order of a run, and whose run it is, depend on them alone."""
        self.pairs = self.given
        """The pairs to train on: with other negatives once these have been mined anew."""
        self.guide_is_named = False
        """Whether the run names a guide: as a teacher it goes before the scores that pairs bring."""
        self._check_columns(self.given)

    def __iter__(self) -> Iterator[Pair]:
        """Yield the pairs as they were given, without their source and time."""
        for start in range(0, len(self), _ROWS_AT_ONCE):
            yield from map(as_pair, self.given.rows(range(start, min(start + _ROWS_AT_ONCE, len(self)))))

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def needs_guide(self) -> bool:
        """Whether a guide or teacher model must embed the texts, because the pairs bring no scores of it."""
        return self.loss.needs_guide and not self.uses_candidate_scores

    @property
    def uses_candidate_scores(self) -> bool:
        """Whether the loss learns from the scores of candidates, which the pairs bring."""
        found = "candidate_scores" in self.loss.uses and bool(self.given.present["candidate_scores"])
        return found and not self.guide_is_named

    def refresh(self, pairs: PairTable) -> None:
        """Train on the same pairs with other negatives from now on.

        :param pairs: as many, in the same order.
        :raises DataError: their columns are not those that the loss works on.
        """
        self._check_columns(pairs)
        self.pairs = pairs

    def can_teach(self, rows: list[int]) -> bool:
        """Tell whether a batch has anything to tell a positive from."""
        alone = self.loss.in_batch_negatives and len(rows) == 1
        return bool(rows) and not (alone and self.given.num_candidates(rows[0]) < 2)

    def _check_columns(self, pairs: PairTable) -> None:
        if not len(pairs):
            raise DataError(f"the training set {self.name!r} is empty; expected pairs")
        # Scores of candidates come with mined negatives, also for losses that only want the negatives.
        loss, known = self.loss, self.loss.requires | self.loss.uses | {"candidate_scores"}
        for column in OPTIONAL_COLUMNS:
            found = pairs.present[column]
            if column in loss.requires and found < len(self):
                raise DataError(
                    f"{len(self) - found:,} of the {len(self):,} pairs of {self.name!r} have no {column!r}, "
                    f"which the loss {loss.name} needs: add it, or choose another loss"
                )
            if column in loss.uses - {"negatives"} and 0 < found < len(self):
                raise DataError(
                    f"{len(self) - found:,} of the {len(self):,} pairs of {self.name!r} have no {column!r}, "
                    "the others do: add it, or remove it from all"
                )
            if found and column not in known:
                raise DataError(
                    f"{found:,} of the {len(self):,} pairs of {self.name!r} have {column!r}, which the loss "
                    f"{loss.name} does not use: remove it, or choose a loss that does"
                )
        if pairs.weighted and not loss.weighted:
            raise DataError(
                f"pairs of {self.name!r} have a weight, but the loss {loss.name} compares rows with each "
                "other and cannot weigh them: remove the weights, or choose another loss"
            )


def as_training_sets(pairs: Iterable[Pair] | Sequence[TrainingSet], loss: Loss | None) -> list[TrainingSet]:
    """Return what a run is given as data sets.

    :param pairs: training pairs, which make one set, or data sets, which stay as they are.
    :param loss: of pairs that come without one.
    :returns: the data sets.
    :raises DataError: something else is among them, or the pairs do not fit the loss.
    """
    rest = iter(pairs)
    first = list(islice(rest, 1))
    items: Iterator[Any] = chain(first, rest)
    if first and isinstance(first[0], TrainingSet):
        return list(_only(TrainingSet, items))
    return [TrainingSet(_only(Pair, items), loss=loss)]


def _only(kind: type[T], items: Iterable[object]) -> Iterator[T]:
    for position, item in enumerate(items):
        if not isinstance(item, kind):
            raise DataError(
                f"item {position} of the training data is a {type(item).__name__}; expected pairs only "
                "(Pair), or data sets only (TrainingSet)"
            )
        yield item
