"""Where a writer writes: the one concrete index whose model was checked, even while an alias moves.

A request to an alias ends wherever the alias leads when it arrives, so vectors of one model could land in an
index of another that a re-embedding has just put there. Requests to the concrete index cannot: re-embedding
blocks it against writes before the alias moves. What comes too late is refused as a whole, and repeated
where the alias leads then, if that index belongs to the writer's model.
"""

from cl_haystack.errors import ServerUnavailableError
from cl_haystack.opensearch.bound_index import BoundIndex
from cl_haystack.opensearch.failures import opensearch_errors


def lease_name(alias: str) -> str:
    """Return the index that exists while a re-embedding of an alias is under way."""
    return f"{alias}-reembed"


class WriteTarget:
    """The concrete index behind a name; safe to share between threads.

    :param index: the index or alias, opened.
    """

    def __init__(self, index: BoundIndex) -> None:
        self._index = index
        self._resolved: tuple[frozenset[str], str] = (frozenset(), index.name)

    def name(self) -> str:
        """Return where to write now.

        :returns: a concrete index; the alias where it leads to several, or gives documents a routing.
        :raises SpaceMismatchError: the name leads to another model's index by now.
        """
        self._index.check()
        concrete = self._index.checked
        if concrete != self._resolved[0]:
            self._resolved = (concrete, self._resolve(concrete))
        return self._resolved[1]

    def has_moved(self, used: str) -> bool:
        """Return whether a refusal is that of an index whose alias moves, so that trying again helps.

        :param used: the index that took no documents.
        :returns: False where nothing tells that the refusal will end.
        :raises SpaceMismatchError: the name leads to another model's index by now.
        """
        try:
            # In this order: what ends between the two questions has moved the alias already.
            with opensearch_errors(self._index.connection.url):
                lease = lease_name(self._index.name)
                under_way = bool(self._index.connection.client().indices.exists(index=lease))
            self._index.check(fresh=True)
            return under_way or self.name() != used
        except ServerUnavailableError:
            return True  # which asking again will tell

    def _resolve(self, concrete: frozenset[str]) -> str:
        if len(concrete) != 1:
            return self._index.name
        (only,) = concrete
        with opensearch_errors(self._index.connection.url, only):
            aliases = self._index.connection.client().indices.get_alias(index=only)[only]["aliases"]
        return self._index.name if "index_routing" in aliases.get(self._index.name, {}) else only
