"""The settings of an index during its first load: no refresh, no replicas if wanted; restored at the end.

Until its end nobody searches an index that is being filled, and each refresh on the way makes small segments
whose vector graphs are merged again later. What the settings were is written into the index itself
(``_meta.cl_haystack_first_load``) *before* they are changed, so that after a kill the next job, wherever it
runs, puts back the right ones. And before the first document is sent: a new field in a document makes its
shard write the whole mapping, with the ``_meta`` that it knows, over whatever was put meanwhile.
"""

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from cl_haystack.errors import CLHaystackError, IndexingError
from cl_haystack.opensearch.failures import opensearch_errors
from cl_haystack.opensearch.index import OpenSearchIndex
from cl_haystack.opensearch.patience import Patience

logger = logging.getLogger(__name__)

RECORD_KEY = "cl_haystack_first_load"
_NO_REFRESH = "-1"
_AFTER_FAILURE_S = 30.0  # that somebody who has pressed Ctrl-C waits, if the server is busy


class FirstLoad:
    """Lowers the settings of an empty index, and restores them at the end of the block.

    An index that holds documents is left alone, unless its first load was interrupted.

    :param index: the index, opened.
    :param patience: repeats requests.
    :param lower: False only restores what an interrupted load has left.
    :param drop_replicas: write without replicas. What was confirmed is lost if a node dies meanwhile.
    """

    def __init__(
        self, index: OpenSearchIndex, patience: Patience, *, lower: bool, drop_replicas: bool
    ) -> None:
        self._index = index
        self._patience = patience
        self._lower_wanted = lower
        self._drop_replicas = drop_replicas
        self._name = ""
        self._previous: dict[str, str | None] | None = None

    def __enter__(self) -> "FirstLoad":
        found = self._patience(self._settings_and_meta)
        if len(found) != 1:  # an alias of several indices has no first load
            return self
        ((self._name, (settings, meta)),) = found.items()
        self._previous = meta.get(RECORD_KEY)
        if self._previous is None and self._lower_wanted and self._patience(self._is_empty):
            try:
                self._lower(settings)
            except BaseException as error:
                self.__exit__(type(error), error, None)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._previous is None:
            return
        # After a failure the job's own patience is at its end: whatever waited was told to stop.
        patience = self._patience if error is None else self._patience.afresh(_AFTER_FAILURE_S)
        try:
            patience.through_blocks(self._restore)
        except CLHaystackError as problem:
            logger.warning(
                "index '%s': the settings of before the load could not be restored (%s); run the job again, "
                "or set them yourself: %s",
                self._name,
                problem,
                self._previous,
            )
            if error is None:
                raise

    def _lower(self, settings: Mapping[str, str]) -> None:
        lowered = {"refresh_interval": _NO_REFRESH}
        if self._drop_replicas:
            lowered["number_of_replicas"] = "0"
        changed = {name: value for name, value in lowered.items() if settings.get(name) != value}
        if not changed:
            return
        previous = {name: settings.get(name) for name in changed}
        try:
            self._patience(lambda: self._write_record(previous))
            self._previous = previous
            self._patience(lambda: self._put_settings(changed))
        except IndexingError as error:  # allowed to write documents, but not to change the index
            logger.warning("index '%s' is loaded with its settings as they are: %s", self._name, error)

    def _restore(self) -> None:
        self._put_settings(self._previous or {})
        self._write_record(None)

    def _is_empty(self) -> bool:
        """Return whether there is no document in the index itself: an alias may show a part of it."""
        with opensearch_errors(self._index.connection.url, self._name):
            return not self._index.connection.client().count(index=self._name)["count"]

    def _settings_and_meta(self) -> dict[str, tuple[dict[str, str], dict[str, Any]]]:
        with opensearch_errors(self._index.connection.url, self._index.name):
            found = self._index.connection.client().indices.get(index=self._index.name)
        return {
            name: (entry["settings"]["index"], entry["mappings"].get("_meta", {}))
            for name, entry in found.items()
        }

    def _write_record(self, previous: dict[str, str | None] | None) -> None:
        _, meta = self._settings_and_meta()[self._name]
        others = {key: value for key, value in meta.items() if key != RECORD_KEY}
        meta = others if previous is None else {**others, RECORD_KEY: previous}
        with opensearch_errors(self._index.connection.url, self._name):
            self._index.connection.client().indices.put_mapping(index=self._name, body={"_meta": meta})

    def _put_settings(self, settings: Mapping[str, str | None]) -> None:
        with opensearch_errors(self._index.connection.url, self._name):
            self._index.connection.client().indices.put_settings(
                index=self._name, body={"index": dict(settings)}
            )
