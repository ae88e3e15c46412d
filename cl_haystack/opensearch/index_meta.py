"""What an index keeps about itself in its mapping, under ``_meta``, written into one that exists.

A shard that learns a new field sends the server the mapping that it knows, and with it the ``_meta`` of
before. So what was written is read back, and written again until it stays.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.binding import META_KEY, IndexBinding
from cl_haystack.opensearch.connection import Connection
from cl_haystack.opensearch.content_hash import HASH_FIELD, HASH_MAPPING
from cl_haystack.opensearch.failures import opensearch_errors

_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class IndexMeta:
    """Writes into the mappings of the concrete indices behind a name.

    :param connection: the server.
    :param name: of the index or alias, for messages.
    """

    connection: Connection
    name: str

    def update(
        self, concrete: str, key: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]
    ) -> dict[str, Any]:
        """Write a part of ``_meta``, so that it stays.

        :param concrete: name of the index.
        :param key: of the part.
        :param change: makes the part of the mapping; None leaves what is there.
        :returns: the mapping, as it was read last.
        :raises IndexingError: others change the mapping all the time, or the server refuses.
        """
        for _ in range(_ATTEMPTS):
            mapping = self._mapping(concrete)
            meta, wanted = mapping.get("_meta", {}), change(mapping)
            if wanted is None or wanted == meta.get(key):
                return mapping
            self._put(concrete, {"_meta": {**meta, key: wanted}})
        raise IndexingError(
            f"index '{concrete}' at {self.connection.url}: others change its mapping all the time, and what "
            "is kept in it with it; try again when fewer new fields arrive"
        )

    def update_binding(
        self, concrete: str, change: Callable[[IndexBinding | None], IndexBinding | None]
    ) -> IndexBinding | None:
        """Write the binding, so that it stays.

        :param concrete: name of the index.
        :param change: makes the binding of the one that is there; None leaves it.
        :returns: the binding, as it was read last; None where there is none.
        :raises IndexingError: the one that is there is damaged, or see :meth:`update`.
        """

        def wanted(mapping: dict[str, Any]) -> dict[str, Any] | None:
            binding = change(IndexBinding.read(mapping, concrete))
            return None if binding is None else binding.stored()

        return IndexBinding.read(self.update(concrete, META_KEY, wanted), concrete)

    def add_hash_field(self, concrete: str) -> None:
        """Let an index keep content hashes from now on, unless it has a field of that name.

        :param concrete: name of the index.
        """
        if HASH_FIELD not in self._mapping(concrete).get("properties", {}):
            self._put(concrete, {"properties": {HASH_FIELD: HASH_MAPPING}})

    def _mapping(self, concrete: str) -> dict[str, Any]:
        with opensearch_errors(self.connection.url, self.name):
            answer: Any = self.connection.client().indices.get_mapping(index=concrete)
        mapping: dict[str, Any] = answer[concrete]["mappings"]
        return mapping

    def _put(self, concrete: str, part: dict[str, Any]) -> None:
        with opensearch_errors(self.connection.url, self.name):
            self.connection.client().indices.put_mapping(index=concrete, body=part)
