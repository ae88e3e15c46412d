"""The way back from a re-embedding: the alias leads to the old index again, which was kept as it was.

What was written since the alias moved is in the new index alone. It is counted, never carried over: that
would need the old model, and is another re-embedding. The new index knows at which sequence numbers the alias
came to it, so only what is above them is compared. It is blocked against writes first, and stays so.
"""

import threading
from dataclasses import asdict, dataclass
from typing import Any

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.connection import Connection
from cl_haystack.opensearch.documents import WITHOUT_VECTOR
from cl_haystack.opensearch.patience import DEFAULT_RETRY_FOR_S, Patience
from cl_haystack.opensearch.reembedding.aliases import (
    ConcreteIndex,
    behind_alias,
    find_index,
    find_indices,
    lift_block,
    move_alias,
)
from cl_haystack.opensearch.reembedding.changes import ChangeReader
from cl_haystack.opensearch.reembedding.lease import Lease


@dataclass(frozen=True, slots=True)
class RollbackReport:
    """Where the alias leads now, and what is not there because it was written after it had moved.

    :param alias: the alias.
    :param old: the index that it leads to again.
    :param new: the index that it left.
    :param added: documents that are in the new index alone.
    :param changed: documents that differ.
    :param deleted: documents that are in the old index alone.
    """

    alias: str
    old: str
    new: str
    added: int
    changed: int
    deleted: int

    @property
    def differing(self) -> int:
        """Documents that differ between the two indices, or are in one of them alone."""
        return self.added + self.changed + self.deleted

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain types, for JSON."""
        return asdict(self) | {"differing": self.differing}


def roll_back(
    connection: Connection, alias: str, *, retry_for_s: float = DEFAULT_RETRY_FOR_S
) -> RollbackReport:
    """Move an alias back to the index from which the present one was re-embedded.

    :param connection: the server.
    :param alias: the alias.
    :param retry_for_s: how long a request is repeated while the server is busy or away.
    :returns: where the alias leads now, and how many documents differ there.
    :raises IndexingError: there is no way back: the index was not made by a re-embedding, or the old one is
        gone.
    """
    behind_alias(connection, alias)
    patience = Patience(retry_for_s, threading.Event())
    with Lease(connection, alias, patience) as lease:
        new = patience(lambda: behind_alias(connection, alias))
        old = patience(lambda: _before(connection, alias, new))
        try:
            lease.block(new)
            report = _compare(connection, alias, old, new, patience)
            patience(lambda: lift_block(connection, old.name))
            lease.confirm()
            patience(lambda: move_alias(connection, alias, new, old.name))
        except BaseException:
            lease.unblock()
            raise
    return report


def _before(connection: Connection, alias: str, new: ConcreteIndex) -> ConcreteIndex:
    """Return the index to go back to."""
    where = f"alias '{alias}' at {connection.url}"
    origin = new.origin
    if origin is None or origin.alias != alias:
        successors = [
            index.name
            for index in find_indices(connection, f"{alias}-*")
            if index.origin is not None and index.origin.uuid == new.uuid
        ]
        tried = f"; {', '.join(successors)}, re-embedded from it, is not in use" if successors else ""
        raise IndexingError(
            f"{where} leads to '{new.name}', which was not made by re-embedding, so there is nothing to go "
            f"back to{tried}"
        )
    old = find_index(connection, origin.index)
    if old is None or old.uuid != origin.uuid:
        gone = "was deleted" if old is None else "was deleted and made again"
        raise IndexingError(
            f"{where} cannot be rolled back: '{origin.index}', from which '{new.name}' was re-embedded, "
            f"{gone}; re-embed with the model that you want, or index the documents again"
        )
    return old


def _compare(
    connection: Connection, alias: str, old: ConcreteIndex, new: ConcreteIndex, patience: Patience
) -> RollbackReport:
    reader, other = (ChangeReader(connection, index.name, patience) for index in (new, old))
    moved_at = (new.origin.moved_at if new.origin is not None else None) or {}
    added = changed = 0
    for page in reader.pages(moved_at, reader.checkpoints()):
        for hit, answer in zip(page, other.find(page, source=WITHOUT_VECTOR), strict=True):
            added += not answer["found"]
            changed += answer["found"] and answer["_source"] != hit["_source"]
    shared = reader.count() - added
    return RollbackReport(alias, old.name, new.name, added, changed, other.count() - shared)
