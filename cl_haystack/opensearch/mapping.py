"""What an index looks like: the schema of ``OpenSearchDocumentStore``, plus the binding.

``content`` is analyzed text, ``embedding`` a k-NN vector, meta fields lie flat beside them and strings among
them become keywords, which is what Haystack's filters expect.

Space type: cosine models get ``cosinesimil``, dot-product models ``innerproduct``. For unit vectors both
rank alike; ``cosinesimil`` is the one whose scores, ``(1 + cosine) / 2``, lie in 0..1 on every engine and in
every stock index that names it, that also ranks right vectors which came from elsewhere with another
length, and with which the server refuses a zero vector.
"""

from typing import Any

from cl_haystack.bundle.manifest import Similarity
from cl_haystack.opensearch.binding import META_KEY, IndexBinding

CONTENT_FIELD = "content"
EMBEDDING_FIELD = "embedding"
SPACE_TYPES: dict[Similarity, str] = {"cosine": "cosinesimil", "dot": "innerproduct"}


def default_method(similarity: Similarity) -> dict[str, Any]:
    """Return the vector index that runs on every server: HNSW by Lucene, which needs no native library."""
    return {"name": "hnsw", "engine": "lucene", "space_type": SPACE_TYPES[similarity]}


def index_body(
    binding: IndexBinding,
    *,
    method: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    fields: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the request body that creates an index.

    :param binding: the model of the index.
    :param method: k-NN method, as in OpenSearch's mapping; what it leaves out is taken from
        :func:`default_method`.
    :param settings: index settings, such as ``{"number_of_shards": 3}``.
    :param fields: mappings of further fields, such as ``{"year": {"type": "integer"}}``.
    :returns: settings and mappings.
    """
    return {
        "settings": {"index.knn": True, **(settings or {})},
        "mappings": {
            "_meta": {META_KEY: binding.model_dump(mode="json")},
            "properties": {
                CONTENT_FIELD: {"type": "text"},
                **(fields or {}),
                EMBEDDING_FIELD: {
                    "type": "knn_vector",
                    "dimension": binding.dimension,
                    "method": {**default_method(binding.similarity), **(method or {})},
                },
            },
            "dynamic_templates": [
                {"strings": {"match_mapping_type": "string", "mapping": {"type": "keyword"}}}
            ],
        },
    }


def vector_dimension(mapping: dict[str, Any]) -> int | None:
    """Return the dimension of the vector field of an existing index, None where there is no such field."""
    field = mapping.get("properties", {}).get(EMBEDDING_FIELD, {})
    return field.get("dimension") if field.get("type") == "knn_vector" else None


def nested_fields(mapping: dict[str, Any]) -> frozenset[str]:
    """Return the fields that are mapped as ``nested``: filters on them are written differently."""
    properties = mapping.get("properties", {})
    return frozenset(name for name, field in properties.items() if field.get("type") == "nested")
