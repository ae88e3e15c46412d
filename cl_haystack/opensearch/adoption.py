"""Take over an index that something else made, such as ``OpenSearchDocumentStore``: look, then bind.

Documents drawn at random from the whole index are embedded again, and every one must give the vector that is
stored with it. Only then the index is told which model it belongs to, and gets a field for the hashes by
which documents written later are known as unchanged; nothing else in it changes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from haystack import Document

from cl_haystack.bundle.manifest import Precision
from cl_haystack.errors import AdoptionError, ConfigurationError, IndexingError
from cl_haystack.opensearch.documents import embedding_text, read_hit
from cl_haystack.opensearch.failures import opensearch_errors
from cl_haystack.opensearch.mapping import CONTENT_FIELD, EMBEDDING_FIELD
from cl_haystack.opensearch.queries import MAX_TOP_K

if TYPE_CHECKING:
    from cl_haystack.encoder import TextEncoder
    from cl_haystack.opensearch.bound_index import BoundIndex

# The lowest cosine between a stored vector and ours: what export demands of a bundle against torch, with room
# for long texts and other kernels. fp32 is by far the sharpest: it also sees a prefix that was left out.
MIN_COSINE: Mapping[Precision, float] = {"fp32": 0.999, "fp16": 0.999, "int8-block": 0.995, "int8": 0.96}
DEFAULT_SAMPLE = 100
_MAX_LENGTH_ERROR = 0.01  # of a vector's length: models that normalize give 1, others anything


@dataclass(frozen=True, slots=True)
class AdoptionReport:
    """What was compared before an index was adopted.

    :param index: name of the concrete index.
    :param sampled: documents compared.
    :param lowest_cosine: of all stored vectors with the vectors of the model.
    :param mean_cosine: the same, their mean.
    :param min_cosine: what the lowest had to reach at the bundle's precision.
    """

    index: str
    sampled: int
    lowest_cosine: float
    mean_cosine: float
    min_cosine: float


def adopt(
    index: "BoundIndex",
    encoder: "TextEncoder",
    *,
    sample: int,
    seed: int,
    meta_fields: Sequence[str],
    separator: str,
) -> list[AdoptionReport]:
    """Bind every index behind a name that has no binding yet; see ``OpenSearchIndex.adopt``."""
    unbound = list(index.unbound(getattr(encoder, "bundle", index.bundle)))
    reports = _compare_all(
        index, unbound, encoder, sample=sample, seed=seed, meta_fields=meta_fields, separator=separator
    )
    for concrete in unbound:  # all or none
        index.bind(concrete)
    index.check(fresh=True)
    return reports


def verify_vectors(
    index: "BoundIndex", encoder: "TextEncoder", *, sample: int = DEFAULT_SAMPLE, seed: int = 0
) -> list[AdoptionReport]:
    """Check that the vectors of an index come from a model, so that they may be taken along to another index.

    Documents drawn at random are embedded again and compared, as for adoption; nothing is changed.

    :param index: bound or not, opened with ``require_binding=False``.
    :param encoder: of the model.
    :param sample: documents to compare in each index behind the name.
    :param seed: another one draws other documents.
    :returns: what was compared, for each index behind the name.
    :raises AdoptionError: vectors differ.
    :raises SpaceMismatchError: the index belongs to another model.
    :raises IndexingError: there is no such index, it keeps no float vectors of this dimension, or none.
    """
    index.check(fresh=True)
    if (data_type := index.vector_form.data_type) != "float":
        raise IndexingError(
            f"index '{index.name}' keeps {data_type} vectors, of which the model's cannot be made again; "
            "embed its documents anew"
        )
    return _compare_all(
        index, sorted(index.checked), encoder, sample=sample, seed=seed, meta_fields=(), separator=""
    )


def _compare_all(
    index: "BoundIndex",
    names: Sequence[str],
    encoder: "TextEncoder",
    *,
    sample: int,
    seed: int,
    meta_fields: Sequence[str],
    separator: str,
) -> list[AdoptionReport]:
    if not 1 <= sample <= MAX_TOP_K:
        raise ConfigurationError(f"sample is {sample}, expected 1 to {MAX_TOP_K:,} documents")
    reports = []
    for concrete in names:
        documents, texts = [], []
        for document in _draw(index, concrete, sample, seed):
            text = embedding_text(document, meta_fields, separator)
            if text.strip():
                documents.append(document)
                texts.append(text)
        if not texts:
            raise IndexingError(
                f"index '{concrete}' at {index.connection.url} has no documents with content and embedding, "
                "so nothing tells which model it belongs to; make a new index"
            )
        reports.append(_compare(index, concrete, documents, encoder.encode_documents(texts)))
    return reports


def _draw(index: "BoundIndex", concrete: str, sample: int, seed: int) -> Iterator[Document]:
    fields = [{"exists": {"field": name}} for name in (EMBEDDING_FIELD, CONTENT_FIELD)]
    query = {
        "function_score": {
            "query": {"bool": {"filter": fields}},
            "random_score": {"seed": seed, "field": "_seq_no"},
            "boost_mode": "replace",
        }
    }
    with opensearch_errors(index.connection.url, concrete):
        index.connection.client().indices.refresh(index=concrete)
        answer: Any = index.connection.client().search(index=concrete, body={"query": query, "size": sample})
    return map(read_hit, answer["hits"]["hits"])


def _compare(index: "BoundIndex", concrete: str, documents: list[Document], vectors: Any) -> AdoptionReport:
    stored = np.array([document.embedding for document in documents], dtype=np.float64)  # (sample, dim)
    made = np.asarray(vectors, dtype=np.float64)  # (sample, dim)
    if stored.shape != made.shape:
        raise IndexingError(
            f"index '{concrete}' holds vectors of shape {stored.shape}, the encoder gives {made.shape}; open "
            "it with the truncate_dim of the index's settings"
        )
    lengths = np.linalg.norm(stored, axis=1), np.linalg.norm(made, axis=1)
    cosines = (stored * made).sum(axis=1) / np.maximum(lengths[0] * lengths[1], np.finfo(np.float64).tiny)
    ratios = lengths[0] / np.maximum(lengths[1], np.finfo(np.float64).tiny)
    least = MIN_COSINE[index.bundle.precision]
    differing = {
        document.id: f"cosine {cosine:.4f}" if cosine < least else f"{ratio:.3g} times as long"
        for document, cosine, ratio in sorted(
            zip(documents, cosines, ratios, strict=True), key=lambda row: row[1]
        )
        if cosine < least or abs(ratio - 1) > _MAX_LENGTH_ERROR
    }
    if differing:
        raise AdoptionError(
            index=concrete,
            model=index.bundle.label,
            sampled=len(documents),
            lowest_cosine=float(cosines.min()),
            min_cosine=least,
            differing=differing,
        )
    return AdoptionReport(
        index=concrete,
        sampled=len(documents),
        lowest_cosine=float(cosines.min()),
        mean_cosine=float(cosines.mean()),
        min_cosine=least,
    )
