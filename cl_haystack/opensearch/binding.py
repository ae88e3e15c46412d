"""Which model an index belongs to: the binding, stored in the mapping under ``_meta.cl_haystack``.

Vectors of two models must never meet in one index, and no server can tell them apart when their dimension
agrees. So the index carries the identity of its vector space, and every write and every query compares it
with the model in use. Another precision of the same checkpoint is welcome and recorded; another truncation
(Matryoshka) is another dimension, and refused.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cl_haystack import __version__
from cl_haystack.bundle import ModelBundle
from cl_haystack.bundle.fingerprint import SHORT_ID_CHARS
from cl_haystack.bundle.manifest import Precision, Similarity
from cl_haystack.errors import ConfigurationError, IndexingError, SpaceMismatchError
from cl_haystack.opensearch.vector_form import DataType

META_KEY = "cl_haystack"
FORMAT_VERSION: Literal[1] = 1


class TextSettings(BaseModel):
    """How the texts were prepared before they were embedded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_length: int = Field(gt=0)
    query_prefix: str
    document_prefix: str


class IndexBinding(BaseModel):
    """Identity of the model whose vectors an index holds; the fields are the stored format.

    ``fingerprint`` and ``precision`` are those of the model that created the index, ``fingerprints`` lists
    every model of the same space that created it or wrote to it, with its precision. ``dimension`` is that of
    the stored vectors; ``truncated_from`` is the model's own where they were cut, ``data_type`` their
    form where it is not float32; both are left out where they say nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = FORMAT_VERSION
    model: str
    space_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    fingerprint: str = Field(pattern=r"^[0-9a-f]{32}$")
    dimension: int = Field(gt=0)
    precision: Precision
    similarity: Similarity
    text: TextSettings
    created_by: str
    fingerprints: dict[str, Precision]
    truncated_from: int | None = Field(default=None, gt=0)
    data_type: Literal["byte", "binary"] | None = None

    @classmethod
    def of(
        cls, bundle: ModelBundle, truncate_dim: int | None = None, data_type: DataType = "float"
    ) -> "IndexBinding":
        """Return the binding of an index that a bundle creates.

        :param bundle: the model.
        :param truncate_dim: how many dimensions of its vectors are stored; None stores all.
        :param data_type: how they are stored.
        :returns: the binding.
        :raises ConfigurationError: the model's vectors cannot be cut there.
        """
        if problem := bundle.truncation_problem(truncate_dim):
            raise ConfigurationError(problem)
        text = bundle.manifest.text
        dimension = truncate_dim or bundle.dimension
        return cls(
            model=bundle.name,
            space_id=bundle.space_id,
            fingerprint=bundle.fingerprint,
            dimension=dimension,
            precision=bundle.precision,
            similarity=bundle.similarity,
            text=TextSettings(
                max_length=text.max_length,
                query_prefix=text.query_prefix,
                document_prefix=text.document_prefix,
            ),
            created_by=f"cl-haystack {__version__}",
            fingerprints={bundle.fingerprint: bundle.precision},
            truncated_from=None if dimension == bundle.dimension else bundle.dimension,
            data_type=None if data_type == "float" else data_type,
        )

    @classmethod
    def read(cls, mapping: dict[str, Any], index: str) -> "IndexBinding | None":
        """Read the binding of an index.

        :param mapping: the index's mapping, as OpenSearch returns it.
        :param index: its name, for messages.
        :returns: the binding, or None where the index has none.
        :raises IndexingError: the binding is damaged or of a later format.
        """
        stored = mapping.get("_meta", {}).get(META_KEY)
        if stored is None:
            return None
        version = stored.get("format_version") if isinstance(stored, dict) else None
        if version != FORMAT_VERSION:
            raise IndexingError(
                f"index '{index}': its binding has format_version {version!r}, this version of cl-haystack "
                f"reads {FORMAT_VERSION}; upgrade cl-haystack, or re-index the documents"
            )
        try:
            return cls.model_validate(stored)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise IndexingError(
                f"index '{index}': its binding (_meta.{META_KEY}) is damaged: field {field}: {first['msg']}; "
                "re-index the documents into a new index"
            ) from error

    @property
    def label(self) -> str:
        """Name and short identity, for messages; the same words as a bundle's label."""
        cut = "" if self.truncated_from is None else f" of {self.truncated_from}"
        return (
            f"'{self.model}' (space {self.space_id[:SHORT_ID_CHARS]}, {self.dimension}{cut} dimensions, "
            f"{self.precision})"
        )

    def check(self, bundle: ModelBundle, index: str, truncate_dim: int | None = None) -> None:
        """Compare the model in use with the index's.

        :param bundle: the model in use; its precision may differ.
        :param index: name of the index, for the message.
        :param truncate_dim: how many dimensions of its vectors are used; None uses all.
        :raises SpaceMismatchError: their vectors are not comparable.
        """
        expected = IndexBinding.of(bundle, truncate_dim)
        if (self.space_id, self.dimension) == (expected.space_id, expected.dimension):
            return
        way_out = None
        if self.space_id == expected.space_id:
            setting = "without" if self.truncated_from is None else "with"
            cut = expected.dimension if self.truncated_from is None else self.dimension
            way_out = f"open index and encoder {setting} truncate_dim={cut}"
        raise SpaceMismatchError(index=index, found=self.label, expected=expected.label, way_out=way_out)

    def stored(self) -> dict[str, Any]:
        """Return the form that is kept in the mapping: plain types, without what is None."""
        return self.model_dump(mode="json", exclude_none=True)

    def knows(self, bundle: ModelBundle) -> bool:
        """Return whether this very model is recorded as a writer."""
        return bundle.fingerprint in self.fingerprints

    def as_adopted(self) -> "IndexBinding":
        """Return the binding of an index that was made by something else, for this model's vectors."""
        return self.model_copy(update={"created_by": f"adopted by {self.created_by}"})

    def with_writer(self, bundle: ModelBundle) -> "IndexBinding":
        """Return the binding with one more model recorded."""
        known = {**self.fingerprints, bundle.fingerprint: bundle.precision}
        return self.model_copy(update={"fingerprints": known})
