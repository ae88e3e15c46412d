"""An index and the model that it belongs to: made, opened, checked.

The check costs one request, the first time an object is used. From then on every answer is watched: hits and
bulk answers name the concrete index they come from, and one that was not checked yet (an alias that moved)
is checked before anything is done with it. An index that was deleted and made again under its name by another
model gives no such sign, so an object in use repeats the check once a second, which costs about
as much as a search. Within that second such an index is not noticed.
"""

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cl_haystack.bundle import ModelBundle
from cl_haystack.errors import CLHaystackError, IndexingError, ServerUnavailableError
from cl_haystack.opensearch.binding import IndexBinding
from cl_haystack.opensearch.connection import Connection
from cl_haystack.opensearch.content_hash import keeps_hashes
from cl_haystack.opensearch.creating import create_index, tell_unmet_settings
from cl_haystack.opensearch.expected_index import ExpectedIndex
from cl_haystack.opensearch.failures import for_now, opensearch_errors, reason_in
from cl_haystack.opensearch.index_meta import IndexMeta
from cl_haystack.opensearch.mapping import EMBEDDING_FIELD, nested_fields
from cl_haystack.opensearch.names import check_name, existing_mappings, mappings_behind
from cl_haystack.opensearch.settings import IndexSettings
from cl_haystack.opensearch.vector_form import VectorForm

logger = logging.getLogger(__name__)

RECHECK_AFTER_S = 1.0


class BoundIndex:
    """An index, or an alias, whose vectors come from one model; what does not concern searching.

    :param connection: the server.
    :param name: name of the index or of an alias.
    :param bundle: the model, loaded or as a path.
    :param settings: how a new index is made, and how many dimensions of the vectors are used.
    :param require_binding: refuse an index that does not say which model it belongs to.
    """

    def __init__(
        self,
        connection: Connection,
        name: str,
        bundle: ModelBundle | str | Path,
        *,
        settings: IndexSettings,
        require_binding: bool,
    ) -> None:
        check_name(name)
        if not isinstance(bundle, ModelBundle | str | Path):
            raise TypeError(f"bundle is a {type(bundle).__name__}, expected a ModelBundle or a path to one")
        self.connection = connection
        self.name = name
        self._bundle_or_path = bundle
        self.settings = settings
        self._require_binding = require_binding
        self._meta = IndexMeta(connection, name)
        self._checked: frozenset[str] = frozenset()  # concrete indices known to belong to the model
        self._checked_at = 0.0  # time.monotonic()
        self._nested_fields: frozenset[str] = frozenset()
        self._keeps_hashes = False
        self._vector_form = VectorForm()
        self._unmet_told = False
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.connection.url!r}, {self.name!r}, {str(self.bundle_path)!r})"

    @property
    def bundle(self) -> ModelBundle:
        """The model, read from disk at the first use."""
        with self._lock:
            if not isinstance(self._bundle_or_path, ModelBundle):
                # Nothing of it runs here; whoever loads the encoder verifies the hashes.
                self._bundle_or_path = ModelBundle.load(self._bundle_or_path, verify=False)
            return self._bundle_or_path

    @property
    def bundle_path(self) -> Path:
        """Where the model lies."""
        given = self._bundle_or_path
        return given.path if isinstance(given, ModelBundle) else Path(given)

    @property
    def dimension(self) -> int:
        """Length of the vectors in this index: the model's, or what they are truncated to."""
        return self.settings.truncate_dim or self.bundle.dimension

    def create(self) -> None:
        """Make the index and bind it to the model.

        :raises ConfigurationError: the server, or the model, cannot do what the settings say.
        :raises IndexingError: it exists already, or the server refuses it.
        """
        if not create_index(self.connection, self._expected):
            raise IndexingError(
                f"index '{self.name}' at {self.connection.url} exists already; open it with open() or "
                "ensure(), or choose another name"
            )
        self.check(fresh=True)

    def open(self) -> IndexBinding | None:
        """Check that the index exists and belongs to the model.

        :returns: its binding; None for an index without one, where that is allowed.
        :raises SpaceMismatchError: it belongs to another model.
        :raises IndexingError: it does not exist, or cannot be used.
        """
        return self.check(fresh=True)

    def ensure(self) -> None:
        """Open the index, or make it where it does not exist. Safe when several do so at once.

        :raises ConfigurationError: the server, or the model, cannot do what the settings say.
        :raises SpaceMismatchError: it exists and belongs to another model.
        :raises IndexingError: it exists and cannot be used.
        """
        # If another process is faster, the check below looks at its index.
        is_new = self._mappings() is None and create_index(self.connection, self._expected)
        self.check(fresh=True)
        if not is_new and not self._unmet_told:
            self._unmet_told = True
            tell_unmet_settings(self.connection, self.name, self.settings)

    def take_truncate_dim(self) -> None:
        """Use as many dimensions of the model as the index's binding says, where nobody has said how many."""
        if self.settings.truncate_dim is not None:
            return
        bindings = [IndexBinding.read(found, name) for name, found in (self._mappings() or {}).items()]
        cut = {
            binding.dimension
            for binding in bindings
            if binding and binding.truncated_from and binding.space_id == self.bundle.space_id
        }
        if len(cut) == 1:
            self.settings = self.settings.model_copy(update={"truncate_dim": cut.pop()})

    def exists(self) -> bool:
        """Return whether there is an index or alias of this name."""
        return self._mappings() is not None

    def check(self, *, fresh: bool = False) -> IndexBinding | None:
        """Compare the index with the model, unless this object did so within the last second.

        :param fresh: ask the server again.
        :returns: the binding that was read; None if nothing was read, or if the index has none.
        :raises SpaceMismatchError: the index belongs to another model.
        :raises IndexingError: it does not exist, or cannot be used.
        """
        if not fresh and not self.check_is_due():
            return None
        before, self._checked_at = self._checked, time.monotonic()  # of many threads, one asks
        try:
            mappings = self._existing_mappings()
            bindings = self._expected.check(mappings, self._checked)
        except ServerUnavailableError:
            self._checked, self._checked_at = before, 0.0
            raise
        except CLHaystackError:
            self._checked = frozenset()
            raise
        self._remember(mappings)
        self._checked = frozenset(bindings)
        return next(iter(bindings.values()), None)

    @property
    def checked(self) -> frozenset[str]:
        """The concrete indices behind the name, all of the model, as the last check found them."""
        return self._checked

    def check_is_due(self) -> bool:
        """Return whether :meth:`check` would ask the server."""
        return not self._checked or time.monotonic() - self._checked_at > RECHECK_AFTER_S

    def check_answer(self, indices: Iterable[str]) -> None:
        """Check the index again if an answer comes from a concrete index that was not checked yet.

        :param indices: concrete names that the answer mentions.
        :raises SpaceMismatchError: the name now leads to another model's index.
        """
        self.check(fresh=not self._checked.issuperset(indices))

    def register_writer(self, bundle: ModelBundle) -> None:
        """Check that a model may write here, and record its precision in the index.

        :param bundle: the model that is going to write.
        :raises SpaceMismatchError: its vectors do not belong into the index.
        """
        self._expected.check_writer(bundle)
        self.check()
        for concrete in self._checked:
            binding = self._meta.update_binding(concrete, lambda found: found and found.with_writer(bundle))
            if binding is not None and binding.text.max_length != bundle.manifest.text.max_length:
                logger.warning(
                    "index '%s': its documents were cut at %d tokens, %s cuts them at %d; the vectors of "
                    "long texts differ, so write with bundles of one max_length",
                    concrete,
                    binding.text.max_length,
                    bundle.label,
                    bundle.manifest.text.max_length,
                )

    def unbound(self, bundle: ModelBundle) -> dict[str, dict[str, Any]]:
        """Return the mappings of the concrete indices without a binding, whose fields suit the model.

        :param bundle: the model that is going to embed.
        :returns: mapping by name.
        :raises SpaceMismatchError: an index behind the name, or ``bundle``, belongs to another model.
        :raises ConfigurationError: the space type of an index ranks otherwise than the model.
        :raises IndexingError: all have a binding, there is no such index, or its vector field does not suit.
        """
        self._expected.check_writer(bundle)
        return self._expected.unbound(self._existing_mappings())

    def bind(self, concrete: str) -> None:
        """Write the binding into an index that has none, and let it keep hashes from now on.

        :param concrete: name of the index, whose vectors the caller knows to belong to the model.
        """
        self._meta.add_hash_field(concrete)
        self._meta.update_binding(concrete, lambda found: found or self._expected.binding().as_adopted())

    def count(self) -> int:
        """Return the number of documents that a search can see."""
        with opensearch_errors(self.connection.url, self.name):
            return int(self._client.count(index=self.name)["count"])

    def refresh(self) -> None:
        """Make everything written so far visible to searches."""
        with opensearch_errors(self.connection.url, self.name):
            self._client.indices.refresh(index=self.name)

    def delete(self) -> bool:
        """Delete the index with all its documents.

        :returns: False if there was none.
        :raises IndexingError: the name is an alias, or the server refuses.
        """
        self._checked = frozenset()
        with opensearch_errors(self.connection.url, self.name):
            answer = self._client.indices.delete(index=self.name, ignore=[404])
        return "error" not in answer

    @property
    def keeps_hashes(self) -> bool:
        """Whether the index stores content hashes; one that was not made by this version does not."""
        self.check()
        return self._keeps_hashes

    @property
    def vector_form(self) -> VectorForm:
        """How vectors are stored: whatever is written or asked goes through it."""
        self.check()
        return self._vector_form

    def existing_ids(self, targets: Sequence[dict[str, Any]]) -> set[str]:
        """Return which of these documents are there, even before a refresh.

        :param targets: ``{"_id": …}``, and ``"routing"`` where a document has one.
        :returns: their ids.
        """
        return {hit["_id"] for hit in self._mget(targets, {"_source": "false"})}

    def stored_sources(self, targets: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Return what is stored of these documents, without the vectors, even before a refresh.

        :param targets: ``{"_id": …}``, and ``"routing"`` where a document has one.
        :returns: by id; those that do not exist are left out.
        """
        params = {
            "_source_excludes": EMBEDDING_FIELD,
            "filter_path": "docs._id,docs.found,docs._source,docs.error",
        }
        return {hit["_id"]: hit.get("_source", {}) for hit in self._mget(targets, params)}

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        self.connection.close()

    async def close_async(self) -> None:
        """Close the connections of the running event loop, and those of :meth:`close`."""
        self.connection.close()
        await self.connection.close_async()

    @property
    def _client(self) -> Any:  # opensearch-py's own annotations promise little more
        return self.connection.client()

    @property
    def _expected(self) -> ExpectedIndex:
        return ExpectedIndex(
            name=self.name,
            url=self.connection.url,
            bundle=self.bundle,
            dimension=self.dimension,
            settings=self.settings,
            require_binding=self._require_binding,
        )

    def _mappings(self) -> dict[str, dict[str, Any]] | None:
        return mappings_behind(self.connection, self.name)

    def _existing_mappings(self) -> dict[str, dict[str, Any]]:
        return existing_mappings(self.connection, self.name)

    def _remember(self, mappings: dict[str, dict[str, Any]]) -> None:
        """Keep what later calls need of the mappings that were just checked."""
        self._nested_fields = frozenset().union(*(nested_fields(mapping) for mapping in mappings.values()))
        self._keeps_hashes = all(keeps_hashes(mapping) for mapping in mappings.values())
        self._vector_form = self._expected.vector_form(mappings)

    def _mget(self, targets: Sequence[dict[str, Any]], params: dict[str, str]) -> list[dict[str, Any]]:
        self.check()
        if not targets:
            return []
        several = sorted(self._checked) if len(self._checked) > 1 else []
        if several:  # the name of an alias would be refused, for each document by itself
            targets = [target | {"_index": concrete} for concrete in several for target in targets]
        with opensearch_errors(self.connection.url, self.name):
            found = self._client.mget(body={"docs": list(targets)}, index=self.name, params=params)["docs"]
        if failed := next((hit for hit in found if "error" in hit), None):
            problem = f"index '{self.name}' did not tell document '{failed['_id']}': {reason_in(failed)}"
            raise for_now(self.connection.url, problem)
        return [hit for hit in found if hit.get("found")]
