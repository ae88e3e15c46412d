"""Where a writer writes: the one concrete index whose model was checked, even while an alias moves.

A request to an alias ends wherever the alias leads when it arrives, so vectors of one model could land in an
index of another that a re-embedding has just put there. Requests to the concrete index cannot: re-embedding
blocks it against writes before the alias moves. What comes too late is refused, and repeated where the alias
leads then, if that index belongs to the writer's model. Where only the alias will do, the check that it still
leads to the writer's model comes right before each request.
"""

from cl_haystack.opensearch.bound_index import BoundIndex
from cl_haystack.opensearch.failures import opensearch_errors


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
        while not (concrete := self._index.checked):  # the check of another thread has just failed
            self._index.check(fresh=True)
        if concrete != self._resolved[0]:
            self._resolved = (concrete, self._resolve(concrete))
        target = self._resolved[1]
        if target not in concrete:
            self._index.check(fresh=True)
        return target

    def _resolve(self, concrete: frozenset[str]) -> str:
        if len(concrete) != 1:
            return self._index.name
        (only,) = concrete
        with opensearch_errors(self._index.connection.url, only):
            aliases = self._index.connection.client().indices.get_alias(index=only)[only]["aliases"]
        return self._index.name if "index_routing" in aliases.get(self._index.name, {}) else only
