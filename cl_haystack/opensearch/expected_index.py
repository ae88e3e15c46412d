"""An index as its model needs it, and the mappings of existing ones compared with that. No server is asked.

An index with a binding must name the vector space of the model. One without may hold whatever it likes, so
its vector field alone can be compared: type, dimension, and whether it ranks as the model does.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from cl_haystack.bundle import ModelBundle
from cl_haystack.errors import ConfigurationError, IndexingError
from cl_haystack.opensearch.binding import IndexBinding
from cl_haystack.opensearch.mapping import space_type_of, vector_field
from cl_haystack.opensearch.settings import IndexSettings, SpaceType
from cl_haystack.opensearch.vector_form import DataType, VectorForm, data_type_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ExpectedIndex:
    """What a model expects of the index, or the indices, behind a name.

    :param name: of the index or alias.
    :param url: of its server, for messages.
    :param bundle: the model.
    :param dimension: length of the vectors.
    :param settings: how the index would be made.
    :param require_binding: refuse an index that does not say which model it belongs to.
    """

    name: str
    url: str
    bundle: ModelBundle
    dimension: int
    settings: IndexSettings
    require_binding: bool

    def binding(self) -> IndexBinding:
        """Return the binding of an index that the model makes.

        :returns: the binding.
        :raises ConfigurationError: the model's vectors cannot be cut where the settings say.
        """
        return IndexBinding.of(self.bundle, self.settings.truncate_dim, self.settings.data_type)

    def check_writer(self, bundle: ModelBundle) -> None:
        """Check that the vectors of a model in use belong with those of the index's.

        :param bundle: the model that is going to embed.
        :raises SpaceMismatchError: they do not.
        """
        self.binding().check(bundle, self.name, self.settings.truncate_dim)

    def check(
        self, mappings: Mapping[str, dict[str, Any]], known: Collection[str]
    ) -> dict[str, IndexBinding | None]:
        """Compare the indices behind the name with the model.

        :param mappings: of the concrete indices, by name.
        :param known: those that were checked before: what is only warned of was told then.
        :returns: their bindings; None for an index without one, where that is allowed.
        :raises SpaceMismatchError: one belongs to another model.
        :raises IndexingError: one cannot be used.
        """
        return {
            concrete: self._check_one(concrete, mapping, is_known=concrete in known)
            for concrete, mapping in mappings.items()
        }

    def unbound(self, mappings: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Return the mappings without a binding, whose fields suit the model.

        :param mappings: of the concrete indices, by name.
        :returns: mapping by name.
        :raises SpaceMismatchError: one belongs to another model.
        :raises ConfigurationError: the space type of one ranks otherwise than the model.
        :raises IndexingError: all have a binding, or the vector field of one does not suit.
        """
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

    def vector_form(self, mappings: Mapping[str, dict[str, Any]]) -> VectorForm:
        """Return how all indices behind the name store vectors.

        :param mappings: of the concrete indices, which were checked.
        :returns: the form.
        :raises IndexingError: they do not store them alike.
        """
        data_type = self._only(
            "data types", (data_type_of(vector_field(one) or {}) for one in mappings.values())
        )
        return VectorForm.of(cast(DataType, data_type), self.bundle, self.dimension)

    def space_type(self, mappings: Mapping[str, dict[str, Any]]) -> SpaceType:
        """Return how all indices behind the name compare vectors.

        :param mappings: of the concrete indices, which were checked.
        :returns: the space type.
        :raises IndexingError: they do not compare them alike.
        """
        # Of several, neither the scores could be compared nor a threshold mean the same.
        return cast(SpaceType, self._only("space types", map(space_type_of, mappings.values())))

    def _only(self, what: str, values: Iterable[str]) -> str:
        """Return the one value that all indices behind the name share."""
        found = set(values)
        if len(found) > 1:
            raise IndexingError(
                f"index '{self.name}' leads to vectors of several {what} ({', '.join(sorted(found))}); use "
                "indices of one"
            )
        return found.pop()

    def _check_one(self, concrete: str, mapping: dict[str, Any], *, is_known: bool) -> IndexBinding | None:
        shown = self.name if concrete == self.name else f"{self.name} ({concrete})"
        binding = IndexBinding.read(mapping, shown)
        if binding is not None:
            binding.check(self.bundle, shown, self.settings.truncate_dim)
        elif self.require_binding:
            raise IndexingError(
                f"index '{shown}' at {self.url} does not say which model its vectors come from "
                f"(it was not made by cl-haystack); if they come from {self.bundle.label}, adopt it with "
                "`cl-haystack adopt` or OpenSearchIndex.adopt(), which compares them, or open it with "
                "require_binding=False; if not, index its documents into a new index"
            )
        self._check_field(shown, vector_field(mapping))
        if binding is None and not is_known:
            try:
                self._check_space_type(mapping)
            except ConfigurationError as error:  # searches find other documents than they should, but some
                logger.warning("index '%s': %s", shown, error)
        return binding

    def _check_field(self, shown: str, field: dict[str, Any] | None) -> None:
        known = field is not None and data_type_of(field) in get_args(DataType)
        if field is not None and known and field.get("dimension") == self.dimension:
            return
        found = "no vector field 'embedding'"
        if field is not None:
            found = f"{data_type_of(field)} vectors of {field.get('dimension')} dimensions"
        raise IndexingError(
            f"index '{shown}' at {self.url} has {found}, the model {self.bundle.label} needs "
            f"vectors of {self.dimension}; use the model it was made with, or another index"
        )

    def _check_space_type(self, mapping: dict[str, Any]) -> None:
        """Raise ConfigurationError if an index that somebody else made ranks otherwise than the model."""
        data_type = data_type_of(vector_field(mapping) or {})
        found = {"data_type": data_type, "space_type": space_type_of(mapping)}
        IndexSettings.of(found).space_type_for(self.bundle)
