"""What an index looks like: the schema of ``OpenSearchDocumentStore``, plus the binding.

``content`` is analyzed text, ``embedding`` a k-NN vector, meta fields lie flat beside them and strings among
them become keywords, which is what Haystack's filters expect.

Space type: cosine models get ``cosinesimil``, dot-product models ``innerproduct``. For unit vectors both
rank alike; ``cosinesimil`` is the one whose scores, ``(1 + cosine) / 2``, lie in 0..1 on every engine and in
every stock index that names it, that also ranks right vectors which came from elsewhere with another
length, and with which the server refuses a zero vector.
"""

from typing import Any

from cl_haystack.opensearch.binding import META_KEY, IndexBinding
from cl_haystack.opensearch.capabilities import ServerCapabilities
from cl_haystack.opensearch.content_hash import HASH_FIELD, HASH_MAPPING
from cl_haystack.opensearch.settings import IndexSettings, SpaceType
from cl_haystack.opensearch.vector_form import data_type_of

CONTENT_FIELD = "content"
EMBEDDING_FIELD = "embedding"
_FAISS_BITS_SINCE = (3, 6)  # before, the faiss encoder `sq` took `type: fp16`, from then on `bits: 16`
# What the server takes where an index does not say.
_DEFAULTS = {"m": 16, "ef_construction": 100, "mode": "in_memory", "analyzer": "standard"}


def index_body(
    binding: IndexBinding,
    settings: IndexSettings,
    *,
    space_type: SpaceType,
    server: ServerCapabilities = ServerCapabilities(),  # noqa: B008 (frozen)
) -> dict[str, Any]:
    """Return the request body that creates an index.

    :param binding: the model of the index.
    :param settings: everything else.
    :param space_type: how vectors are compared.
    :param server: where it is going to be made.
    :returns: settings and mappings.
    """
    content = {"type": "text", "analyzer": settings.analyzer}
    return {
        "settings": {
            "index.knn": True,
            **_given(
                number_of_shards=settings.number_of_shards, number_of_replicas=settings.number_of_replicas
            ),
            **settings.extra_settings,
        },
        "mappings": {
            "_meta": {META_KEY: binding.stored()},
            "properties": {
                CONTENT_FIELD: _given(**content),
                **settings.fields,
                HASH_FIELD: HASH_MAPPING,
                EMBEDDING_FIELD: {
                    "type": "knn_vector",
                    "dimension": binding.dimension,
                    **({} if settings.data_type == "float" else {"data_type": settings.data_type}),
                    "method": _method(settings, space_type, server),
                    **_given(mode=settings.mode, compression_level=settings.compression_level),
                },
            },
            "dynamic_templates": [
                {"strings": {"match_mapping_type": "string", "mapping": {"type": "keyword"}}}
            ],
        },
    }


def vector_field(mapping: dict[str, Any]) -> dict[str, Any] | None:
    """Return the mapping of the vector field of an existing index, None where there is no such field."""
    field: dict[str, Any] = mapping.get("properties", {}).get(EMBEDDING_FIELD, {})
    return field if field.get("type") == "knn_vector" else None


def space_type_of(mapping: dict[str, Any]) -> SpaceType:
    """Return how an existing index compares vectors; ``l2``, OpenSearch's default, where it does not say."""
    field = vector_field(mapping) or {}
    space_type: SpaceType = field.get("space_type") or field.get("method", {}).get("space_type") or "l2"
    return space_type


def unmet_settings(settings: IndexSettings, existing: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the settings that somebody chose and an existing index was not made with.

    Replicas and ``extra_settings`` are not compared: whoever runs the index may change them at any time.

    :param settings: how the index would be made now.
    :param existing: the index, as the server describes it: ``settings`` and ``mappings``.
    :returns: by name, what was chosen, and what the index has; None where it has no such thing.
    """
    mapping = existing["mappings"]
    properties, field = mapping.get("properties", {}), vector_field(mapping) or {}
    method = field.get("method", {})
    parameters = method.get("parameters", {})
    found = {
        "engine": method.get("engine", settings.engine),  # its default depends on the server
        "space_type": space_type_of(mapping),
        "m": parameters.get("m"),
        "ef_construction": parameters.get("ef_construction"),
        "data_type": data_type_of(field),
        "encoder": parameters.get("encoder", {}).get("name"),
        "mode": field.get("mode"),
        "compression_level": field.get(
            "compression_level", "32x" if field.get("mode") == "on_disk" else "1x"
        ),
        "number_of_shards": int(existing["settings"]["index"]["number_of_shards"]),
        "analyzer": properties.get(CONTENT_FIELD, {}).get("analyzer"),
    }
    chosen = {name: getattr(settings, name) for name in found if name in settings.model_fields_set}
    pairs = {name: (value, found[name] or _DEFAULTS.get(name)) for name, value in _given(**chosen).items()}
    for name, wanted in settings.fields.items():
        pairs[f"fields.{name}"] = wanted.get("type", "object"), _field_type(properties.get(name))
    return {name: (wanted, there) for name, (wanted, there) in pairs.items() if wanted != there}


def vector_dimension(mapping: dict[str, Any]) -> int | None:
    """Return the dimension of the vector field of an existing index, None where there is no such field."""
    return (vector_field(mapping) or {}).get("dimension")


def nested_fields(mapping: dict[str, Any]) -> frozenset[str]:
    """Return the fields that are mapped as ``nested``: filters on them are written differently."""
    properties = mapping.get("properties", {})
    return frozenset(name for name, field in properties.items() if field.get("type") == "nested")


def _method(settings: IndexSettings, space_type: SpaceType, server: ServerCapabilities) -> dict[str, Any]:
    encoder = None
    if settings.encoder is not None:
        if settings.chosen_engine == "lucene":
            # 7, the default, is stated: with 1 a server without native libraries hangs in the first search.
            parameters: dict[str, Any] = {"bits": 7}
        elif server.version is not None and server.version < _FAISS_BITS_SINCE:
            parameters = {"type": "fp16"}
        else:
            parameters = {"bits": 16}
        encoder = {"name": settings.encoder, "parameters": parameters}
    method = {"name": "hnsw", "engine": settings.chosen_engine, "space_type": space_type}
    parameters = _given(m=settings.m, ef_construction=settings.ef_construction, encoder=encoder)
    return {**method, "parameters": parameters} if parameters else method


def _field_type(field: dict[str, Any] | None) -> str | None:
    return None if field is None else field.get("type", "object")  # which a server does not write


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
