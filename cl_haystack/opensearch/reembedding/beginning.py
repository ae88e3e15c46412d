"""The beginning of a re-embedding: the new index is made, or that of an earlier run gone on with."""

from typing import Any

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.capabilities import ServerCapabilities
from cl_haystack.opensearch.connection import Connection
from cl_haystack.opensearch.failures import opensearch_errors
from cl_haystack.opensearch.index import OpenSearchIndex
from cl_haystack.opensearch.patience import Patience
from cl_haystack.opensearch.records import check_source
from cl_haystack.opensearch.reembedding.aliases import (
    ORIGIN_KEY,
    ConcreteIndex,
    Origin,
    find_index,
    lift_block,
    refuse_template_aliases,
)
from cl_haystack.opensearch.reembedding.successor import (
    origin_of,
    successor_body,
    successor_name,
)


def begin(index: OpenSearchIndex, old: ConcreteIndex, patience: Patience) -> OpenSearchIndex:
    """Make the index that is going to take an old one's place, or open it where an earlier run made it.

    :param index: the alias, with the new model.
    :param old: where it leads now.
    :param patience: repeats requests.
    :returns: the new index.
    :raises IndexingError: its name is taken by something else, or the disks are too full.
    """
    connection, cut = index.connection, index.settings.truncate_dim
    name = successor_name(index, old.name)
    check_source(old.name, old.mapping)
    there = patience(lambda: find_index(connection, name))
    if there is not None:
        _go_on_with(there, index, old, patience)
    else:
        refuse_template_aliases(connection, name)
        _require_disk_space(connection, old, name)
        server = patience(lambda: ServerCapabilities.ask(connection.client(), connection.url))
        body = successor_body(old, index, server)
        with opensearch_errors(connection.url, name):
            connection.client().indices.create(index=name, body=body)
    new = OpenSearchIndex(
        connection.client(), name, index.bundle, settings={"truncate_dim": cut} if cut else None
    )
    patience(lambda: new.check(fresh=True))
    return new


def write_origin(connection: Connection, name: str, origin: Origin) -> None:
    """Let an index remember whose documents it holds."""
    there = find_index(connection, name)
    meta = {} if there is None else there.mapping.get("_meta", {})
    with opensearch_errors(connection.url, name):
        connection.client().indices.put_mapping(
            index=name, body={"_meta": {**meta, ORIGIN_KEY: origin.stored()}}
        )


def _go_on_with(there: ConcreteIndex, index: OpenSearchIndex, old: ConcreteIndex, patience: Patience) -> None:
    origin = there.origin
    is_before = old.origin is not None and (old.origin.index, old.origin.uuid) == (there.name, there.uuid)
    is_ours = is_before or (origin is not None and origin.alias == index.name)
    if not is_ours or there.aliases:
        names = ", ".join(there.aliases)
        used = f"the alias {names} leads to it" if names else "it was made otherwise"
        raise IndexingError(
            f"index '{there.name}' at {index.connection.url} exists, expected none or one of an earlier "
            f"re-embedding of '{index.name}', but {used}; delete it, or keep its documents elsewhere"
        )
    if there.is_blocked:  # it was in use once
        patience(lambda: lift_block(index.connection, there.name))
    patience(lambda: write_origin(index.connection, there.name, origin_of(old, index.name)))


def _require_disk_space(connection: Connection, old: ConcreteIndex, name: str) -> None:
    """Refuse to begin what the disks cannot hold, as far as the server tells."""
    try:
        with opensearch_errors(connection.url, old.name):
            stats: Any = connection.client().indices.stats(index=old.name, metric="store")
            nodes: Any = connection.client().cat.allocation(params={"format": "json", "bytes": "b"})
    except IndexingError:  # not allowed to ask
        return
    needed = stats["_all"]["total"]["store"]["size_in_bytes"]
    free = sum(int(node["disk.avail"]) for node in nodes if node.get("disk.avail"))
    if 0 < free < needed:
        raise IndexingError(
            f"'{name}' needs about as much disk space as '{old.name}', {needed / 1e9:.1f} GB, but the nodes "
            f"of {connection.url} have {free / 1e9:.1f} GB left; free some, or delete indices that are no "
            "longer needed"
        )
