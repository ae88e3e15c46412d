"""What a re-embedding did."""

from dataclasses import asdict, dataclass, field
from typing import Any

from cl_haystack.opensearch.reembedding.gate import GateResult


@dataclass(slots=True)
class ReembedReport:
    """The end of a re-embedding; counts are of this run, not of one that it went on from.

    :param alias: what was re-embedded.
    :param old: the index that the alias led to.
    :param new: the index that holds the new vectors.
    :param moved: whether the alias leads to the new index now.
    :param needless: nothing was done, because the alias belonged to the model's vector space already.
    :param removed: the new index was removed, because the gate refused it.
    :param read: documents read from the old index, before catching up.
    :param caught_up: documents read again, or for the first time, because they were written meanwhile.
    :param deleted: documents deleted from the new index, because they were deleted from the old one.
    :param embedded: documents whose text was embedded.
    :param skipped: documents that were in the new index already.
    :param written: documents that the server confirmed.
    :param without_text: documents written without a vector, because there is nothing to embed.
    :param retries: bulk requests that were repeated.
    :param passes: times that the changes of the old index were read.
    :param documents: in the new index when the alias moved; as many as in the old one.
    :param sampled: documents compared with the old index, and embedded a second time.
    :param lowest_cosine: of the stored vectors of these with the second ones.
    :param gate: what the gate's questions showed.
    :param seconds: ``copy``, ``verify``, ``gate``, ``blocked`` (writes had to wait) and ``total``.
    """

    alias: str
    old: str
    new: str
    moved: bool = False
    needless: bool = False
    removed: bool = False
    read: int = 0
    caught_up: int = 0
    deleted: int = 0
    embedded: int = 0
    skipped: int = 0
    written: int = 0
    without_text: int = 0
    retries: int = 0
    passes: int = 0
    documents: int = 0
    sampled: int = 0
    lowest_cosine: float | None = None
    gate: GateResult | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain types, for JSON."""
        return asdict(self)
