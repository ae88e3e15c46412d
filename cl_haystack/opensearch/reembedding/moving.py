"""The end of a re-embedding: writers wait for a moment, and the alias moves."""

import time
from dataclasses import dataclass

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.connection import Connection
from cl_haystack.opensearch.reembedding.aliases import move_alias
from cl_haystack.opensearch.reembedding.beginning import write_origin
from cl_haystack.opensearch.reembedding.copying import Copying, TooLongError
from cl_haystack.opensearch.reembedding.successor import origin_of

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Moving:
    """Moves an alias from the old index of a copying to the new one.

    :param connection: the server.
    :param alias: the alias.
    :param copying: what is left of it is done under the block.
    :param max_block_s: seconds that writers wait at most.
    """

    connection: Connection
    alias: str
    copying: Copying
    max_block_s: float

    def move(self) -> float:
        """Do what is left, at last with writes blocked, and move the alias.

        :returns: seconds that writers had to wait.
        :raises IndexingError: they would have to wait for too long, or the indices are not equal.
        """
        for _ in range(_ATTEMPTS):
            self.copying.catch_up()
            self.copying.delete_gone(None)
            self.copying.catch_up()
            started = time.monotonic()
            try:
                self._move_by(started + self.max_block_s)
            except TooLongError:
                self.copying.lease.unblock()
            except BaseException:
                self.copying.lease.unblock()
                raise
            else:
                return time.monotonic() - started
        raise IndexingError(
            f"writes to '{self.copying.old.name}' would have to wait for longer than {self.max_block_s:g} s "
            "(max_block_s) until the alias is moved; allow more, or repeat while fewer documents are deleted "
            "and written. What is embedded is kept"
        )

    def _move_by(self, deadline: float) -> None:
        copying, old, new = self.copying, self.copying.old, self.copying.new
        copying.lease.block(old)
        copying.one_pass(deadline)
        copying.delete_gone(deadline)
        copying.report.documents = self._equal_count()
        if time.monotonic() > deadline:  # the server may have taken its time, with nothing left to copy
            raise TooLongError
        origin = origin_of(old, self.alias, moved_at=copying.target.checkpoints())
        copying.patience(lambda: write_origin(self.connection, new.name, origin))
        copying.lease.confirm()
        copying.patience(lambda: move_alias(self.connection, self.alias, old, new.name))

    def _equal_count(self) -> int:
        old, new = self.copying.source.count(), self.copying.target.count()
        if old != new:
            raise IndexingError(
                f"index '{self.copying.new.name}' at {self.connection.url} holds {new:,} documents and "
                f"'{self.copying.old.name}' {old:,}, expected equal numbers; the alias was not moved. Delete "
                "the former and repeat"
            )
        return new
