"""A look at a re-embedded index before it is used: the same documents, and vectors that the model makes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.adoption import MIN_COSINE
from cl_haystack.opensearch.content_hash import HASH_FIELD
from cl_haystack.opensearch.documents import StoredDocument, embedding_text
from cl_haystack.opensearch.index import OpenSearchIndex
from cl_haystack.opensearch.mapping import EMBEDDING_FIELD
from cl_haystack.opensearch.reembedding.changes import ChangeReader, Checkpoints
from cl_haystack.opensearch.vector_form import VectorForm

if TYPE_CHECKING:
    from cl_haystack.encoder.protocol import TextEncoder

SAMPLE_DOCUMENTS = 100


def verify_sample(
    source: ChangeReader,
    target: ChangeReader,
    index: OpenSearchIndex,
    encoder: "TextEncoder",
    *,
    up_to: Checkpoints,
    meta_fields: Sequence[str],
    separator: str,
) -> tuple[int, float | None]:
    """Compare documents of the old index with those of the new one, and embed them a second time.

    :param source: of the old index.
    :param target: of the new one.
    :param index: the new one.
    :param encoder: of its model.
    :param up_to: what was copied; only documents that were not written since are compared.
    :param meta_fields: meta fields that are embedded before the content.
    :param separator: stands between them.
    :returns: how many were compared, and the lowest cosine; None where none has a text.
    :raises IndexingError: a document is missing or differs, or has another vector.
    """
    hits = source.sample(up_to, SAMPLE_DOCUMENTS)
    copies = target.find(hits, source=True)
    texts, vectors = [], []
    for hit, copy in zip(hits, copies, strict=True):
        stored = dict(copy.get("_source") or {})
        vector, _ = stored.pop(EMBEDDING_FIELD, None), stored.pop(HASH_FIELD, None)
        if stored != (hit["_source"] or {"id": hit["_id"]}):
            problem = "differs from it" if copy.get("found") else "is missing"
            raise _failed(index, f"document '{hit['_id']}' of the old index {problem}")
        text = embedding_text(StoredDocument(hit), meta_fields, separator)
        if bool(text.strip()) != (vector is not None):
            raise _failed(index, f"document '{hit['_id']}' has {'no' if vector is None else 'a'} vector")
        if vector is not None:
            texts.append(text)
            vectors.append(vector)
    if not texts:
        return len(hits), None
    form = index.vector_form
    made = [form(row) for row in encoder.encode_documents(texts)]
    lowest = float(_cosines(_numbers(vectors, form), _numbers(made, form)).min())
    if lowest < MIN_COSINE[index.bundle.precision]:
        raise _failed(index, f"a vector has cosine {lowest:.4f} with what {index.bundle.label} makes now")
    return len(hits), lowest


def _numbers(rows: Sequence[Any], form: VectorForm) -> NDArray[np.float64]:
    """Return stored vectors as numbers whose cosine means something: signs are packed into bytes."""
    if form.data_type != "binary":
        return np.array(rows, dtype=np.float64)  # (sample, dim)
    signs = np.unpackbits(np.array(rows, dtype=np.int8).view(np.uint8), axis=1)
    return signs.astype(np.float64) * 2 - 1


def _cosines(stored: NDArray[np.float64], made: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(stored, axis=1) * np.linalg.norm(made, axis=1)
    cosines = (stored * made).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)
    return cast("NDArray[np.float64]", cosines)


def _failed(index: OpenSearchIndex, problem: str) -> IndexingError:
    return IndexingError(
        f"index '{index.name}' at {index.connection.url} is not what the old one says it should be: "
        f"{problem}; the alias was not moved. Delete that index and repeat"
    )
