"""Words and vectors fused into one ranking: the settings, where they are kept, what the server is told.

A search takes what it is told; what it is not told comes from the settings that ``cl-haystack tune`` found
for this index, kept in its mapping under ``_meta.cl_haystack_search``, else from the defaults below.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cl_haystack.errors import ConfigurationError, IndexingError

Fusion = Literal["min_max", "rrf"]

META_KEY = "cl_haystack_search"
RANK_CONSTANT = 60  # of reciprocal rank fusion; Cormack et al. 2009, and OpenSearch's default
WEIGHTED_RRF_SINCE = (3, 2)  # older servers refuse weights with it


class Tuned(BaseModel):
    """What settings were chosen by, for whoever reads the mapping."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    queries: int = Field(gt=0)
    metric: str
    value: float
    before: float
    """The metric with the default settings."""


class HybridSettings(BaseModel):
    """How words and vectors are fused; the fields are the stored format.

    :param weights: of (BM25, vector), each 0..1, with sum 1. Equal ones need no tuning and were the better
        default on SciFact: nDCG@10 0.714, against 0.697 of reciprocal rank fusion.
    :param fusion: ``min_max`` scales each leg's scores to 0..1 and takes the weighted mean; ``rrf`` is
        reciprocal rank fusion.
    :param pagination_depth: candidates of each leg on each shard; normalization looks at their scores, so it
        needs more than the few that are returned. On one shard the server reads the text of each: for
        SciFact's training queries 15 take 1.25 times as long as dense search does, 30 take 1.42 times, for
        0.4 [0.0, 1.0] points of nDCG@10 (docs/experiments.md).
    :param tuned: what they were chosen by; None for settings that nobody measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    weights: tuple[float, float] = (0.5, 0.5)
    fusion: Fusion = "min_max"
    pagination_depth: int = Field(default=15, ge=1, le=10_000)
    tuned: Tuned | None = None

    @classmethod
    def read(cls, mapping: Mapping[str, Any], index: str) -> "HybridSettings | None":
        """Read the settings kept in an index.

        :param mapping: the index's mapping, as OpenSearch returns it.
        :param index: its name, for the message.
        :returns: the settings, or None where none are kept.
        :raises IndexingError: they are damaged, or of a later format.
        """
        stored = mapping.get("_meta", {}).get(META_KEY)
        if stored is None:
            return None
        try:
            settings = cls.model_validate(stored)
            check_weights(settings.weights)
        except (ValidationError, ConfigurationError) as error:
            raise IndexingError(
                f"index '{index}': its hybrid settings (_meta.{META_KEY}) are damaged or of a later version; "
                "tune again with `cl-haystack tune`, or give weights yourself"
            ) from error
        return settings

    def stored(self) -> dict[str, Any]:
        """Return the form that is kept in the mapping: plain types, without what is None."""
        return self.model_dump(mode="json", exclude_none=True)

    def with_given(
        self, weights: Sequence[float] | None, fusion: Fusion | None, pagination_depth: int | None
    ) -> "HybridSettings":
        """Return these settings with what a search was told; checked.

        Weights belong to their fusion: whoever gives one of the two gets the default of the other, not what
        was tuned for something else.

        :param weights: of (BM25, vector), or None.
        :param fusion: ``min_max``, ``rrf`` or None.
        :param pagination_depth: candidates of each leg, or None.
        :returns: the settings of the search.
        :raises ConfigurationError: a value cannot be used.
        """
        settings = self if weights is None and fusion is None else HybridSettings()
        if weights is not None:
            check_weights(weights)
            settings = settings.model_copy(update={"weights": (float(weights[0]), float(weights[1]))})
        if fusion is not None:
            check_fusion(fusion)
            settings = settings.model_copy(update={"fusion": fusion})
        if pagination_depth is not None:
            check_depth(pagination_depth)
            settings = settings.model_copy(update={"pagination_depth": pagination_depth})
        return settings

    @property
    def weighs_ranks(self) -> bool:
        """Whether this is reciprocal rank fusion with weights; equal ones are none."""
        return self.fusion == "rrf" and self.weights[0] != self.weights[1]

    def processor(self) -> dict[str, Any]:
        """Return the search pipeline's processor that fuses on the server."""
        parameters = {"parameters": {"weights": list(self.weights)}}
        if self.fusion == "min_max":
            return {
                "normalization-processor": {
                    "normalization": {"technique": "min_max"},
                    "combination": {"technique": "arithmetic_mean", **parameters},
                }
            }
        weighting = parameters if self.weighs_ranks else {}
        return {
            "score-ranker-processor": {
                "combination": {"technique": "rrf", "rank_constant": RANK_CONSTANT, **weighting}
            }
        }


DEFAULT = HybridSettings()


def check_weights(weights: Sequence[float]) -> None:
    """Refuse weights that are not two shares of one."""
    try:
        fits = (
            len(weights) == 2
            and all(0 <= weight <= 1 for weight in weights)
            and abs(sum(weights) - 1) <= 1e-6
        )
    except TypeError:
        fits = False
    if not fits:
        raise ConfigurationError(
            f"weights are {weights}, expected two numbers from 0 to 1 with sum 1: (BM25, vector)"
        )


def check_fusion(fusion: str) -> None:
    """Refuse an unknown way to fuse two result lists."""
    if fusion not in get_args(Fusion):
        raise ConfigurationError(f"fusion is {fusion!r}, expected one of {', '.join(get_args(Fusion))}")


def check_weighted_rrf(version: tuple[int, int] | None, url: str) -> None:
    """Refuse weights with reciprocal rank fusion on a server that does not take them.

    :param version: the server's; None where it does not say.
    :param url: its address, for the message.
    :raises ConfigurationError: it is too old.
    """
    if version is not None and version < WEIGHTED_RRF_SINCE:
        found, needed = (".".join(map(str, numbers)) for numbers in (version, WEIGHTED_RRF_SINCE))
        raise ConfigurationError(
            f"OpenSearch at {url} is version {found}, and fusion 'rrf' takes weights from {needed} on; leave "
            "the weights out, use fusion 'min_max', which takes them on every version, or upgrade the server"
        )


def check_depth(pagination_depth: int) -> None:
    """Refuse a depth that no server takes."""
    if isinstance(pagination_depth, bool) or not isinstance(pagination_depth, int):
        raise ConfigurationError(f"pagination_depth is {pagination_depth!r}, expected a whole number")
    if not 1 <= pagination_depth <= 10_000:
        raise ConfigurationError(f"pagination_depth is {pagination_depth}, expected 1 to 10,000")
