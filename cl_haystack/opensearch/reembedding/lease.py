"""One re-embedding of an alias at a time, on whatever machine, and no lock that outlives its holder.

The lease is a document in an index of its own, renewed every few seconds and changed by compare-and-set. It
is taken over from a process of this machine that is gone, and from any other once it has not been renewed for
``EXPIRES_AFTER_S``, measured by watching it: clocks are never compared. What its holder is going to block
stands in it first, and whoever takes it over lifts that before anything else. So a holder who could not lift
its block, for whatever reason, leaves the lease behind.
"""

import logging
import os
import platform
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from opensearchpy.exceptions import ConflictError, NotFoundError, RequestError

from cl_haystack.errors import CLHaystackError, IndexingError
from cl_haystack.opensearch.connection import Connection
from cl_haystack.opensearch.failures import is_blocked, opensearch_errors
from cl_haystack.opensearch.patience import Patience
from cl_haystack.opensearch.reembedding.aliases import (
    ConcreteIndex,
    block_writes,
    find_index,
    find_indices,
    lift_block,
    refuse_template_aliases,
)

logger = logging.getLogger(__name__)

RENEWED_EVERY_S = 3.0
EXPIRES_AFTER_S = 30.0
_DOCUMENT = "lease"
_MARK = "cl_haystack_lease"
_BODY = {
    "settings": {"index": {"number_of_shards": 1, "auto_expand_replicas": "0-1", "hidden": True}},
    "mappings": {"_meta": {_MARK: 1}},
}


class Lease:
    """Held inside its ``with`` block.

    :param connection: the server.
    :param alias: what is re-embedded.
    :param patience: repeats requests.
    :raises IndexingError: another process is re-embedding the alias.
    """

    def __init__(self, connection: Connection, alias: str, patience: Patience) -> None:
        self._connection = connection
        self._client, self._url = connection.client(), connection.url
        self._alias = alias
        self._index = f"{alias}-reembed-lease"
        self._patience = patience
        self._facts: dict[str, Any] = {
            "holder": uuid.uuid4().hex,
            "host": platform.node(),
            "processes": _process_table(),
            "pid": os.getpid(),
            "renewed": 0,
            "blocked": None,
            "ended": False,
        }
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._lost: IndexingError | None = None
        self._keeper = threading.Thread(target=self._keep, name="cl-haystack-lease", daemon=True)

    def __enter__(self) -> Self:
        refuse_template_aliases(self._connection, self._index)
        self._patience(self._take)
        self._keeper.start()
        try:
            self._lift()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._keeper.join()
        try:
            if error is None:
                self._patience(self._give_back)
            elif self._facts["blocked"] is None:  # need not wait for a server that has gone
                self._give_back()
            else:  # whoever comes next takes it over at once
                self._facts["ended"] = True
                self._renew()
        except CLHaystackError as problem:  # it expires by itself
            logger.warning("the lease '%s' could not be given back: %s", self._index, problem)

    def check(self) -> None:
        """Raise if the lease is known to be lost; asks nobody."""
        if self._lost is not None:
            raise self._lost

    def confirm(self) -> None:
        """Renew the lease.

        :raises IndexingError: another process has taken it.
        """
        self._patience(self._renew)

    def block(self, index: ConcreteIndex) -> None:
        """Block an index against writes, and note that before; a block of somebody else is not noted.

        :param index: the index, to which the alias leads.
        :raises IndexingError: another process has taken the lease, or the index cannot be blocked.
        """
        now = self._patience(lambda: find_index(self._connection, index.name))
        if now is not None and not now.is_blocked:
            self._facts["blocked"] = index.name
        self.confirm()
        self._patience(lambda: block_writes(self._connection, index.name))

    def unblock(self) -> None:
        """Let what :meth:`block` blocked be written to again after something went wrong, or say so."""
        name = self._facts["blocked"]
        try:
            self._lift()
        except BaseException as problem:  # the next run will, as the lease says
            logger.error(
                "index '%s' may still be blocked against writes (%s); run the same command again, or set "
                "index.blocks.write of it to null",
                name,
                problem if isinstance(problem, CLHaystackError) else "interrupted",
            )
            if not isinstance(problem, CLHaystackError):
                raise

    def _lift(self) -> None:
        """Lift the block that the lease notes, unless the alias leads elsewhere: then it is to stay."""
        name = self._facts["blocked"]
        if name is None:
            return
        self._patience(self._require_held)  # else the block may be the next holder's
        leads_to = [
            found.name for found in self._patience(lambda: find_indices(self._connection, self._alias))
        ]
        if name in (leads_to or [name]):
            self._patience(lambda: lift_block(self._connection, name))
        self._facts["blocked"] = None
        self.confirm()

    def _take(self) -> None:
        with opensearch_errors(self._url, self._index):
            try:
                self._client.indices.create(index=self._index, body=_BODY)
            except RequestError as error:
                if "resource_already_exists" not in str(error.error):
                    raise
                self._check_mark()
            try:
                self._write({"op_type": "create"})
            except ConflictError:
                self._take_over(self._read())

    def _check_mark(self) -> None:
        """Leave an index alone that is no lease."""
        found: Any = self._client.indices.get_mapping(
            index=self._index, params={"ignore_unavailable": "true"}
        )
        if any(_MARK not in entry["mappings"].get("_meta", {}) for entry in found.values()):
            raise IndexingError(
                f"index '{self._index}' at {self._url} exists, but a re-embedding of '{self._alias}' needs "
                "that name for a while; delete it, or keep its documents elsewhere"
            )

    def _take_over(self, found: dict[str, Any]) -> None:
        holder = found["_source"]
        if holder["holder"] == self._facts["holder"]:  # the answer to an earlier attempt was lost
            return
        if not _is_gone(holder):
            logger.warning(
                "waiting up to %d s for the re-embedding of '%s' on %s (process %d)",
                EXPIRES_AFTER_S,
                self._alias,
                holder["host"],
                holder["pid"],
            )
            until = time.monotonic() + EXPIRES_AFTER_S
            while time.monotonic() < until:
                time.sleep(1.0)
                try:
                    now = self._read()
                except NotFoundError:
                    self._take()
                    return
                if now["_seq_no"] != found["_seq_no"]:
                    raise self._held(holder)
        self._facts["blocked"] = holder["blocked"]  # until that is lifted
        try:
            self._write(_unchanged(found))
        except ConflictError:
            raise self._held(holder) from None

    def _give_back(self) -> None:
        with opensearch_errors(self._url, self._index):
            try:
                if self._read()["_source"]["holder"] == self._facts["holder"]:
                    self._client.indices.delete(index=self._index)
            except NotFoundError:  # it is given back, and the answer was lost
                return

    def _keep(self) -> None:
        while not self._ended.wait(RENEWED_EVERY_S):
            try:
                self._renew()
            except CLHaystackError as error:
                if isinstance(error, IndexingError) and not is_blocked(error.__cause__):
                    self._lost = error
                    return
                logger.warning("the lease '%s' could not be renewed: %s", self._index, error)

    def _renew(self) -> None:
        with self._lock, opensearch_errors(self._url, self._index):
            try:
                found = self._read()
                if found["_source"]["holder"] != self._facts["holder"]:
                    raise self._held(found["_source"])
                self._facts["renewed"] += 1
                self._write(_unchanged(found))
            except (NotFoundError, ConflictError) as error:
                raise IndexingError(
                    f"the lease '{self._index}' was taken away; let one process re-embed '{self._alias}'"
                ) from error

    def _require_held(self) -> None:
        with opensearch_errors(self._url, self._index):
            try:
                holder = self._read()["_source"]
            except NotFoundError:  # somebody removed it, so it is nobody else's
                return
        if holder["holder"] != self._facts["holder"]:
            raise self._held(holder)

    def _read(self) -> dict[str, Any]:
        found: dict[str, Any] = self._client.get(index=self._index, id=_DOCUMENT)
        return found

    def _write(self, condition: dict[str, Any]) -> None:
        self._client.index(index=self._index, id=_DOCUMENT, body=self._facts, params=condition)

    def _held(self, holder: dict[str, Any]) -> IndexingError:
        return IndexingError(
            f"alias '{self._alias}' at {self._url} is being re-embedded on {holder['host']} (process "
            f"{holder['pid']}); wait for it, or stop it, then repeat"
        )


def _unchanged(found: dict[str, Any]) -> dict[str, Any]:
    return {"if_seq_no": found["_seq_no"], "if_primary_term": found["_primary_term"]}


def _process_table() -> str:
    """Return what two processes share that see each other's numbers: the boot and the namespace of Linux."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()


def _is_gone(holder: dict[str, Any]) -> bool:
    if holder.get("ended"):
        return True
    if os.name != "posix" or holder["processes"] != _process_table():
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # alive, and somebody else's
        pass
    return False
