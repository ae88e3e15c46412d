"""The index that takes another one's place: made like it, for another model.

Mapping and settings are those of the old index, as far as somebody chose them: analyzers, fields, dynamic
rules, shards, replicas, the vector's method. New are the vector's dimension and space type, the binding, and
the origin. What the caller's ``IndexSettings`` name goes before.
"""

import copy
from typing import Any, cast, get_args

from cl_haystack.bundle.fingerprint import SHORT_ID_CHARS
from cl_haystack.opensearch.binding import META_KEY, IndexBinding
from cl_haystack.opensearch.capabilities import ServerCapabilities
from cl_haystack.opensearch.content_hash import HASH_FIELD, HASH_MAPPING
from cl_haystack.opensearch.index import OpenSearchIndex
from cl_haystack.opensearch.indexing.first_load import RECORD_KEY
from cl_haystack.opensearch.mapping import CONTENT_FIELD, EMBEDDING_FIELD, index_body, vector_field
from cl_haystack.opensearch.reembedding.aliases import ORIGIN_KEY, ConcreteIndex, Origin
from cl_haystack.opensearch.settings import IndexSettings
from cl_haystack.opensearch.vector_form import DataType, VectorForm, data_type_of

# What a server writes into the settings itself; another index may not have it.
_PRIVATE_SETTINGS = (
    "index.blocks.",
    "index.creation_date",
    "index.history.",
    "index.provided_name",
    "index.remote_store.",
    "index.resize.",
    "index.routing.allocation.initial_recovery.",
    "index.shrink.",
    "index.uuid",
    "index.verified_before_close",
    "index.version.",
)
_META_KEYS = {META_KEY, ORIGIN_KEY, RECORD_KEY}
# Settings that do not describe the method of the vector field.
_OF_NO_INDEX = {"truncate_dim", "ef_search"}
_OF_OTHER_FIELDS = {"analyzer", "fields", "number_of_shards", "number_of_replicas", "extra_settings"}


def successor_name(index: OpenSearchIndex, old: str) -> str:
    """Return the name of the index that a model's vectors go to: ``<alias>-<short fingerprint>``.

    :param index: the alias, with the new model.
    :param old: the index that the alias leads to.
    :returns: the name; with the dimension where the vectors are cut, and with ``again`` at its end where the
        old index has that name, because its documents are embedded anew with the same model.
    """
    name = f"{index.name}-{index.bundle.fingerprint[:SHORT_ID_CHARS]}"
    if index.dimension != index.bundle.dimension:
        name = f"{name}-{index.dimension}"
    return f"{name}-again" if name == old else name


def successor_body(old: ConcreteIndex, index: OpenSearchIndex, server: ServerCapabilities) -> dict[str, Any]:
    """Return the request body that makes an index like the old one, for another model.

    :param old: the index whose documents it is going to hold.
    :param index: the alias, with the new model and the settings that differ from the old index's.
    :param server: where it is going to be made.
    :returns: settings and mappings.
    :raises ConfigurationError: the new model's vectors cannot be stored or compared in that way.
    """
    given = index.settings.model_fields_set - _OF_NO_INDEX
    data_type = _data_type(old, index.settings)
    VectorForm.of(data_type, index.bundle, index.dimension)  # or say now why the model cannot have it
    settings = index.settings.model_copy(update={"data_type": data_type})
    binding = IndexBinding.of(index.bundle, settings.truncate_dim, data_type)
    space_type = settings.space_type_for(index.bundle)
    fresh = index_body(binding, settings, space_type=space_type, server=server)
    mapping = copy.deepcopy(old.mapping)
    properties = mapping.setdefault("properties", {})
    vector = None if given - _OF_OTHER_FIELDS else vector_field(old.mapping)
    properties[EMBEDDING_FIELD] = _vector(vector, fresh["mappings"]["properties"][EMBEDDING_FIELD])
    properties[HASH_FIELD] = HASH_MAPPING
    if "analyzer" in given:
        properties[CONTENT_FIELD] = fresh["mappings"]["properties"][CONTENT_FIELD]
    properties |= settings.fields
    others = {key: value for key, value in mapping.get("_meta", {}).items() if key not in _META_KEYS}
    mapping["_meta"] = {**others, META_KEY: binding.stored(), ORIGIN_KEY: origin_of(old, index.name).stored()}
    wanted = {f"index.{name.removeprefix('index.')}": value for name, value in fresh["settings"].items()}
    return {"settings": {**_settings(old), **wanted}, "mappings": mapping}


def origin_of(old: ConcreteIndex, alias: str, moved_at: dict[int, int] | None = None) -> Origin:
    """Return the origin of an index that gets the documents of an old one."""
    return Origin(alias=alias, index=old.name, uuid=old.uuid, moved_at=moved_at)


def _data_type(old: ConcreteIndex, settings: IndexSettings) -> DataType:
    found = data_type_of(vector_field(old.mapping) or {})
    if "data_type" in settings.model_fields_set or found not in get_args(DataType):
        return settings.data_type
    return cast(DataType, found)


def _vector(old: dict[str, Any] | None, fresh: dict[str, Any]) -> dict[str, Any]:
    """Return the mapping of the vector: the old one's method, the new one's dimension and space type."""
    if old is None:
        return fresh
    kept = {name: value for name, value in old.items() if name not in ("model_id", "space_type")}
    vector = {**kept, "dimension": fresh["dimension"]}
    if "method" in vector:
        vector["method"] = {**vector["method"], "space_type": fresh["method"]["space_type"]}
    else:
        vector["space_type"] = fresh["method"]["space_type"]
    return vector


def _settings(old: ConcreteIndex) -> dict[str, Any]:
    lowered = old.mapping.get("_meta", {}).get(RECORD_KEY) or {}  # by a first load that has not ended
    settings = {**old.settings, **{f"index.{name}": value for name, value in lowered.items()}}
    return {
        name: value
        for name, value in settings.items()
        if value is not None and not name.startswith(_PRIVATE_SETTINGS)
    }
