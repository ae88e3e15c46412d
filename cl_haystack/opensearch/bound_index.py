"""An index and the model that it belongs to: made, opened, checked.

The check costs one request, the first time an object is used. From then on every answer is watched: hits and
bulk answers name the concrete index they come from, and one that was not checked yet (an alias that moved)
is checked before anything is done with it. An index that was deleted and made again under its name by another
model gives no such sign, so an object in use repeats the check once a second, which costs about
as much as a search. Within that second such an index is not noticed.
"""

import difflib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast, get_args

from opensearchpy.exceptions import RequestError

from cl_haystack.bundle import ModelBundle
from cl_haystack.errors import CLHaystackError, ConfigurationError, IndexingError, ServerUnavailableError
from cl_haystack.opensearch.binding import META_KEY, IndexBinding
from cl_haystack.opensearch.capabilities import ServerCapabilities
from cl_haystack.opensearch.connection import Connection
from cl_haystack.opensearch.content_hash import HASH_FIELD, HASH_MAPPING, keeps_hashes
from cl_haystack.opensearch.failures import for_now, opensearch_errors, reason_in
from cl_haystack.opensearch.mapping import (
    EMBEDDING_FIELD,
    index_body,
    nested_fields,
    space_type_of,
    unmet_settings,
    vector_field,
)
from cl_haystack.opensearch.settings import IndexSettings
from cl_haystack.opensearch.vector_form import DataType, VectorForm, data_type_of

logger = logging.getLogger(__name__)

RECHECK_AFTER_S = 1.0
_ATTEMPTS_TO_WRITE_META = 10

_FORBIDDEN_IN_NAMES = re.compile(r'[\s\\/*?"<>|,#:A-Z]|^[-_+.]')


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
        if not isinstance(name, str) or not name or _FORBIDDEN_IN_NAMES.search(name):
            raise ConfigurationError(
                f"{name!r} is no name for an index: use lower-case letters, digits, '-', '_' and '.', and "
                "begin with a letter or digit"
            )
        if not isinstance(bundle, ModelBundle | str | Path):
            raise TypeError(f"bundle is a {type(bundle).__name__}, expected a ModelBundle or a path to one")
        self.connection = connection
        self.name = name
        self._bundle_or_path = bundle
        self.settings = settings
        self._require_binding = require_binding
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
        if not self._create():
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
        is_new = self._mappings() is None and self._create()
        self.check(fresh=True)
        if not is_new:
            self._tell_unmet_settings()

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
            mappings = self._mappings()
            if mappings is None:
                raise self._missing()
            bindings = {concrete: self._check_one(concrete, entry) for concrete, entry in mappings.items()}
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
        self._expected_binding().check(bundle, self.name, self.settings.truncate_dim)
        self.check()
        for concrete in self._checked:
            binding = self._update_binding(concrete, lambda found: found and found.with_writer(bundle))
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
        self._expected_binding().check(bundle, self.name, self.settings.truncate_dim)
        mappings = self._mappings()
        if mappings is None:
            raise self._missing()
        unbound = {}
        for concrete, mapping in mappings.items():
            if (binding := IndexBinding.read(mapping, concrete)) is not None:
                binding.check(self.bundle, concrete, self.settings.truncate_dim)
                continue
            field = vector_field(mapping)
            self._check_field(concrete, field)
            assert field is not None
            if data_type_of(field) != "float":
                raise IndexingError(
                    f"index '{concrete}' has {data_type_of(field)} vectors, of which nobody can tell how "
                    "they were made; index its documents into a new index"
                )
            self._check_space_type(mapping)
            unbound[concrete] = mapping
        if not unbound:
            raise IndexingError(f"index '{self.name}' belongs to {self.bundle.label} already; just open it")
        return unbound

    def bind(self, concrete: str) -> None:
        """Write the binding into an index that has none, and let it keep hashes from now on.

        :param concrete: name of the index, whose vectors the caller knows to belong to the model.
        """
        with opensearch_errors(self.connection.url, self.name):
            mapping = self._client.indices.get_mapping(index=concrete)[concrete]["mappings"]
            if HASH_FIELD not in mapping.get("properties", {}):
                hashes = {"properties": {HASH_FIELD: HASH_MAPPING}}
                self._client.indices.put_mapping(index=concrete, body=hashes)
        self._update_binding(concrete, lambda found: found or self._expected_binding().as_adopted())

    def _update_binding(
        self, concrete: str, change: Callable[[IndexBinding | None], IndexBinding | None]
    ) -> IndexBinding | None:
        def wanted(mapping: dict[str, Any]) -> dict[str, Any] | None:
            binding = change(IndexBinding.read(mapping, concrete))
            return None if binding is None else binding.stored()

        return IndexBinding.read(self._update_meta(concrete, META_KEY, wanted), concrete)

    def _update_meta(
        self, concrete: str, key: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]
    ) -> dict[str, Any]:
        """Write a part of ``_meta`` and read it back: a shard that learns a field puts back what it knew."""
        for _ in range(_ATTEMPTS_TO_WRITE_META):
            with opensearch_errors(self.connection.url, self.name):
                mapping: dict[str, Any] = self._client.indices.get_mapping(index=concrete)[concrete][
                    "mappings"
                ]
            meta, wanted = mapping.get("_meta", {}), change(mapping)
            if wanted is None or wanted == meta.get(key):
                return mapping
            with opensearch_errors(self.connection.url, self.name):
                self._client.indices.put_mapping(index=concrete, body={"_meta": {**meta, key: wanted}})
        raise IndexingError(
            f"index '{concrete}' at {self.connection.url}: others change its mapping all the time, and what "
            "is kept in it with it; try again when fewer new fields arrive"
        )

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

    def _create(self) -> bool:
        binding, space_type = self._expected_binding(), self.settings.space_type_for(self.bundle)
        VectorForm.of(self.settings.data_type, self.bundle, self.dimension)  # or say now why it cannot be
        server = ServerCapabilities.ask(self._client, self.connection.url)
        server.check(self.settings, self.connection.url)
        body = index_body(binding, self.settings, space_type=space_type, server=server)
        try:
            with opensearch_errors(self.connection.url, self.name):
                self._client.indices.create(index=self.name, body=body)
        except IndexingError as error:
            cause = error.__cause__
            if isinstance(cause, RequestError) and "resource_already_exists" in str(cause.error):
                return False
            raise
        return True

    def _expected_binding(self) -> IndexBinding:
        return IndexBinding.of(self.bundle, self.settings.truncate_dim, self.settings.data_type)

    def _mappings(self) -> dict[str, dict[str, Any]] | None:
        """Return the mapping of every concrete index behind the name, None where there is none."""
        # With `ignore`, because opensearch-py logs a warning for a status that raises.
        with opensearch_errors(self.connection.url, self.name):
            answer = self._client.indices.get_mapping(index=self.name, ignore=[404])
        if answer.get("status") == 404:
            return None
        if not all(isinstance(entry, dict) and "mappings" in entry for entry in answer.values()):
            raise ServerUnavailableError(
                self.connection.url, "what answers there is not OpenSearch; correct the address"
            )
        return {concrete: entry["mappings"] for concrete, entry in answer.items()}

    def _remember(self, mappings: dict[str, dict[str, Any]]) -> None:
        """Keep what later calls need of the mappings that were just checked."""
        self._nested_fields = frozenset().union(*(nested_fields(mapping) for mapping in mappings.values()))
        self._keeps_hashes = all(keeps_hashes(mapping) for mapping in mappings.values())
        data_type = self._only(
            "data types", (data_type_of(vector_field(one) or {}) for one in mappings.values())
        )
        self._vector_form = VectorForm.of(cast(DataType, data_type), self.bundle, self.dimension)

    def _only(self, what: str, values: Iterable[str]) -> str:
        """Return the one value that all indices behind the name share."""
        found = set(values)
        if len(found) > 1:
            raise IndexingError(
                f"index '{self.name}' leads to vectors of several {what} ({', '.join(sorted(found))}); use "
                "indices of one"
            )
        return found.pop()

    def _check_one(self, concrete: str, mapping: dict[str, Any]) -> IndexBinding | None:
        shown = self.name if concrete == self.name else f"{self.name} ({concrete})"
        binding = IndexBinding.read(mapping, shown)
        if binding is not None:
            binding.check(self.bundle, shown, self.settings.truncate_dim)
        elif self._require_binding:
            raise IndexingError(
                f"index '{shown}' at {self.connection.url} does not say which model its vectors come from "
                f"(it was not made by cl-haystack); if they come from {self.bundle.label}, adopt it with "
                "`cl-haystack adopt` or OpenSearchIndex.adopt(), which compares them, or open it with "
                "require_binding=False; if not, index its documents into a new index"
            )
        self._check_field(shown, vector_field(mapping))
        if binding is None and concrete not in self._checked:
            try:
                self._check_space_type(mapping)
            except ConfigurationError as error:  # searches find other documents than they should, but some
                logger.warning("index '%s': %s", shown, error)
        return binding

    def _check_space_type(self, mapping: dict[str, Any]) -> None:
        """Raise ConfigurationError if an index that somebody else made ranks otherwise than the model."""
        data_type = data_type_of(vector_field(mapping) or {})
        found = {"data_type": data_type, "space_type": space_type_of(mapping)}
        IndexSettings.of(found).space_type_for(self.bundle)

    def _tell_unmet_settings(self) -> None:
        """Say once which settings an index that exists keeps without."""
        if self._unmet_told or not self.settings.model_fields_set - {"truncate_dim", "ef_search"}:
            return
        self._unmet_told = True
        with opensearch_errors(self.connection.url, self.name):
            found = self._client.indices.get(index=self.name)
        for concrete, existing in found.items():
            unmet = unmet_settings(self.settings, existing)
            differences = ", ".join(
                f"{name} is {there}, not {given}" for name, (given, there) in unmet.items()
            )
            if differences:
                logger.warning(
                    "index '%s' exists, and stays as it was made: %s; for other settings index its documents "
                    "into a new index",
                    concrete,
                    differences,
                )

    def _check_field(self, shown: str, field: dict[str, Any] | None) -> None:
        known = field is not None and data_type_of(field) in get_args(DataType)
        if field is not None and known and field.get("dimension") == self.dimension:
            return
        found = "no vector field 'embedding'"
        if field is not None:
            found = f"{data_type_of(field)} vectors of {field.get('dimension')} dimensions"
        raise IndexingError(
            f"index '{shown}' at {self.connection.url} has {found}, the model {self.bundle.label} needs "
            f"vectors of {self.dimension}; use the model it was made with, or another index"
        )

    def _missing(self) -> IndexingError:
        with opensearch_errors(self.connection.url):
            names = [
                name
                for index, entry in self._client.indices.get_alias().items()
                for name in (index, *entry["aliases"])
                if not name.startswith(".")
            ]
        near = difflib.get_close_matches(self.name, names, n=3) or sorted(names)[:5]
        there = f"; there are {', '.join(near)}" if near else "; there are no indices yet"
        return IndexingError(
            f"index '{self.name}' does not exist at {self.connection.url}{there}. Make it with "
            "`cl-haystack index` or OpenSearchIndex.create(), or correct the name"
        )

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
