"""How an index is made: vector field, shards, text field. Checked here, before any server is asked.

Names are OpenSearch's own. What is left out gets a default that works on every server: HNSW by Lucene, which
needs no native library, keeps its graph in the page cache and filters while it searches. Faiss is chosen
where a setting needs it.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cl_haystack.bundle import ModelBundle
from cl_haystack.bundle.manifest import Similarity
from cl_haystack.errors import ConfigurationError
from cl_haystack.opensearch.vector_form import DataType

DEFAULT_EF_SEARCH = 100
Engine = Literal["lucene", "faiss"]
SpaceType = Literal["cosinesimil", "innerproduct", "l2", "hamming"]
SPACE_TYPES: Mapping[Similarity, SpaceType] = {"cosine": "cosinesimil", "dot": "innerproduct"}
# With it at -1 no graph is built and every search is exact, which needs no native library even with faiss.
APPROXIMATE_THRESHOLD = "index.knn.advanced.approximate_threshold"


class IndexSettings(BaseModel):
    """Settings of an index that is going to be made; of one that exists, ``truncate_dim`` and ``ef_search``.

    :param engine: ``lucene`` or ``faiss``; by default lucene, or faiss where ``mode`` or
        ``compression_level`` need it.
    :param space_type: by default ``cosinesimil`` for cosine models and ``innerproduct`` for others; another
        one only for models with vectors of unit length, which all three rank alike.
    :param m: links of a node in the HNSW graph, 2..512 (Lucene's limit, which OpenSearch does not check until
        documents are there); None leaves it to the server, which takes 16.
    :param ef_construction: candidates that HNSW looks at when it adds a vector, 1..3200 (Lucene's limit, as
        above); None leaves it to the server, which takes 100.
    :param ef_search: candidates that HNSW looks at in a search, at least ``top_k`` of them; None leaves it
        to the server.
    :param data_type: ``float``; ``byte``, a quarter of the size, with the scale in the bundle's calibration;
        or ``binary``, the signs alone, a 32nd of the size, compared by ``hamming``.
    :param encoder: ``sq`` for scalar quantization: 7 bits with lucene, 16 with faiss.
    :param mode: ``in_memory`` or ``on_disk``; the latter needs faiss unless ``compression_level`` is ``4x``.
    :param compression_level: ``4x`` with lucene; ``2x``, ``8x``, ``16x``, ``32x`` with faiss.
    :param truncate_dim: store only the first dimensions, one of the model's ``matryoshka_dimensions``; the
        encoder must be opened with the same.
    :param number_of_shards: primary shards; None leaves it to the server, which takes 1.
    :param number_of_replicas: copies of each shard; None leaves it to the server, which takes 1.
    :param analyzer: analyzer of ``content``, such as ``english``; None is the standard analyzer.
    :param fields: mappings of further fields, such as ``{"year": {"type": "integer"}}``.
    :param extra_settings: further settings of the index, such as ``{"refresh_interval": "30s"}``.
    :raises ConfigurationError: a combination cannot work on any server.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    engine: Engine | None = None
    space_type: SpaceType | None = None
    m: int | None = Field(default=None, ge=2, le=512)
    ef_construction: int | None = Field(default=None, ge=1, le=3200)
    ef_search: int | None = Field(default=DEFAULT_EF_SEARCH, ge=1)
    data_type: DataType = "float"
    encoder: Literal["sq"] | None = None
    mode: Literal["in_memory", "on_disk"] | None = None
    compression_level: Literal["1x", "2x", "4x", "8x", "16x", "32x"] | None = None
    truncate_dim: int | None = Field(default=None, ge=1)
    number_of_shards: int | None = Field(default=None, ge=1)
    number_of_replicas: int | None = Field(default=None, ge=0)
    analyzer: str | None = None
    fields: dict[str, dict[str, Any]] = Field(default_factory=dict)
    extra_settings: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, given: "IndexSettings | Mapping[str, Any] | None") -> "IndexSettings":
        """Return settings from a plain dictionary, or those given.

        :param given: settings, their plain form, or None for the defaults.
        :returns: the settings.
        :raises ConfigurationError: an entry is unknown or out of range, or a combination cannot work.
        """
        if isinstance(given, cls):
            return given
        try:
            return cls.model_validate({} if given is None else given)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, entry['loc'])) or 'settings'}: {entry['msg']}"
                for entry in error.errors()
            )
            raise ConfigurationError(f"the settings of an index cannot be used: {problems}") from error

    @property
    def chosen_engine(self) -> Engine:
        """The engine that a new index gets."""
        return self.engine or ("faiss" if self._needs_faiss else "lucene")

    @property
    def is_exact(self) -> bool:
        """Whether the index builds no graph, so that every search looks at every vector."""
        return str(self.extra_settings.get(APPROXIMATE_THRESHOLD)) == "-1"

    def space_type_for(self, bundle: ModelBundle) -> SpaceType:
        """Return the space type for a model.

        :param bundle: the model.
        :returns: the one that was asked for, else the model's own.
        :raises ConfigurationError: it would rank otherwise than the model's similarity.
        """
        if self.data_type == "binary":
            return "hamming"
        own = SPACE_TYPES[bundle.similarity]
        if self.data_type == "byte" and self.space_type in (None, own) and own == "innerproduct":
            if bundle.manifest.embedding.normalize:
                return "cosinesimil"
            raise ConfigurationError(
                f"data_type byte takes vectors of unit length, and those of {bundle.label} have any length; "
                "use float"
            )
        if self.space_type in (None, own) or bundle.manifest.embedding.normalize:
            return self.space_type or own
        raise ConfigurationError(
            f"space_type {self.space_type} ranks otherwise than {bundle.label}, whose similarity is "
            f"{bundle.similarity} and whose vectors have any length; use {own}, or leave it out"
        )

    @property
    def _needs_faiss(self) -> bool:
        if self.compression_level in ("2x", "8x", "16x", "32x"):
            return True
        return self.mode == "on_disk" and self.compression_level != "4x"

    @model_validator(mode="after")
    def _check_combinations(self) -> "IndexSettings":
        if self.engine == "lucene" and self._needs_faiss:
            raise ConfigurationError(
                f"engine lucene cannot do mode {self.mode}, compression_level {self.compression_level}; use "
                "compression_level 4x, or engine faiss"
            )
        if self.mode == "on_disk" and self.compression_level == "1x":
            raise ConfigurationError(
                "mode on_disk cannot do without compression (compression_level 1x); leave compression_level "
                "out, or use mode in_memory"
            )
        if self.chosen_engine == "faiss" and self.compression_level == "4x":
            raise ConfigurationError(
                "engine faiss has no compression_level 4x; use 2x, 8x, 16x or 32x, or engine lucene"
            )
        if self.data_type != "float" and (self.encoder or self.compression_level or self.mode):
            raise ConfigurationError(
                f"data_type {self.data_type} makes vectors small already; leave encoder, compression_level "
                "and mode out"
            )
        if (self.space_type == "hamming") != (self.data_type == "binary") and self.space_type:
            raise ConfigurationError(
                f"data_type {self.data_type} cannot have space_type {self.space_type}; hamming and binary go "
                "together"
            )
        if self.encoder is not None and (self.compression_level or self.mode):
            raise ConfigurationError(
                "encoder and compression_level or mode say the same thing twice; give one of them"
            )
        if "embedding" in self.fields:
            raise ConfigurationError(
                "fields holds 'embedding', which the settings of the vector describe; take it out"
            )
        if self.analyzer is not None and "content" in self.fields:
            raise ConfigurationError("fields holds 'content', and there is an analyzer; give one of them")
        return self
