"""An index becomes an alias of the same name, so that it can be re-embedded while it is in use.

The server clones the index (hard links: seconds, and no disk space), and in one request deletes it and gives
its name to the clone. Searches notice nothing. Writes are blocked from before the clone to the end; those of
this package wait.
"""

import threading

from cl_haystack.bundle.fingerprint import SHORT_ID_CHARS
from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.binding import IndexBinding
from cl_haystack.opensearch.connection import Connection
from cl_haystack.opensearch.failures import opensearch_errors
from cl_haystack.opensearch.patience import DEFAULT_RETRY_FOR_S, Patience
from cl_haystack.opensearch.reembedding.aliases import (
    ConcreteIndex,
    find_index,
    find_indices,
)
from cl_haystack.opensearch.reembedding.changes import ChangeReader
from cl_haystack.opensearch.reembedding.lease import Lease

_CLONED_FROM = "index.resize.source.uuid"


def make_alias(connection: Connection, name: str, *, retry_for_s: float = DEFAULT_RETRY_FOR_S) -> str:
    """Turn an index into an alias of its name; run it again after whatever went wrong.

    :param connection: the server.
    :param name: the index.
    :param retry_for_s: how long a request is repeated while the server is busy or away.
    :returns: the index that the alias leads to: ``<name>-<short fingerprint>`` of its model, or
        ``<name>-original`` where it does not say which that is.
    :raises IndexingError: there is no such index, or the name of the new one is taken.
    """
    patience = Patience(retry_for_s, threading.Event())
    _the_index(connection, name)
    with Lease(connection, name, patience) as lease:
        index = patience(lambda: _the_index(connection, name))
        if index.name != name:
            return index.name
        clone = _clone_name(index)
        patience(lambda: _remove_unfinished(connection, index, clone))
        try:
            lease.block(index)
            _clone(connection, index, clone, patience)
            patience(lambda: _take_place(connection, index, clone))
        except BaseException:
            lease.unblock()
            raise
    return clone


def _the_index(connection: Connection, name: str) -> ConcreteIndex:
    found = find_indices(connection, name)
    if len(found) != 1:
        there = "does not exist" if not found else f"is an alias of {len(found)} indices already"
        raise IndexingError(f"index '{name}' at {connection.url} {there}; correct the name")
    return found[0]


def _clone_name(index: ConcreteIndex) -> str:
    binding = IndexBinding.read(index.mapping, index.name)
    return f"{index.name}-{'original' if binding is None else binding.fingerprint[:SHORT_ID_CHARS]}"


def _remove_unfinished(connection: Connection, index: ConcreteIndex, clone: str) -> None:
    there = find_index(connection, clone)
    if there is None:
        return
    if there.settings.get(_CLONED_FROM) != index.uuid or there.aliases:
        raise IndexingError(
            f"index '{clone}' at {connection.url} exists, but that is the name which '{index.name}' gets; "
            "delete it, or keep its documents elsewhere"
        )
    with opensearch_errors(connection.url, clone):
        connection.client().indices.delete(index=clone)


def _clone(connection: Connection, index: ConcreteIndex, clone: str, patience: Patience) -> None:
    replicas = {  # which a clone does not take over
        name: value for name, value in index.settings.items() if name.endswith("_replicas")
    }
    body = {"settings": {**replicas, "index.blocks.write": None}, "aliases": index.aliases}
    with opensearch_errors(connection.url, index.name):
        connection.client().indices.clone(index=index.name, target=clone, body=body)
    counts = [ChangeReader(connection, name, patience).count() for name in (index.name, clone)]
    if counts[0] != counts[1]:
        raise IndexingError(
            f"the clone '{clone}' at {connection.url} holds {counts[1]:,} of {counts[0]:,} documents; "
            f"'{index.name}' stays what it is. Repeat when the cluster is calm"
        )


def _take_place(connection: Connection, index: ConcreteIndex, clone: str) -> None:
    if [found.name for found in find_indices(connection, index.name)] == [clone]:
        return  # an earlier request was carried out, and its answer lost
    actions = [
        {"remove_index": {"index": index.name}},
        {"add": {"index": clone, "alias": index.name}},
    ]
    with opensearch_errors(connection.url, index.name):
        connection.client().indices.update_aliases(body={"actions": actions})
