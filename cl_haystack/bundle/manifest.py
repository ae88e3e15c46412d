"""The manifest of a model bundle: what the files are, which vectors they make and where they come from.

The models below are the format. They are frozen and refuse unknown fields, so a manifest that loads is
one that this version understands whole.
"""

from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

FORMAT: Final = "cl-haystack-bundle"
FORMAT_VERSION: Final = 1

MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
MODEL_CARD_FILE = "README.md"
LICENSE_FILE = "LICENSE"
KNOWN_FILES = frozenset({MODEL_FILE, TOKENIZER_FILE, MODEL_CARD_FILE, LICENSE_FILE})

OUTPUT_NAME = "sentence_embedding"

PoolingMode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
_ONE_MODE = f"({'|'.join(get_args(PoolingMode))})"
Pooling = Annotated[str, Field(pattern=rf"^{_ONE_MODE}(\+{_ONE_MODE})*$")]
"""A mode under sentence-transformers' name, or several whose embeddings are concatenated: ``cls+mean``."""
Similarity = Literal["cosine", "dot"]
Precision = Literal["fp32", "fp16", "int8", "int8-block"]
Sha256 = str


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Section):
    """Hash and size of one file of the bundle."""

    sha256: Sha256 = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class Embedding(_Section):
    """The vectors that the model makes."""

    dimension: int = Field(gt=0, le=65_536)
    matryoshka_dimensions: tuple[Annotated[int, Field(gt=0, le=65_536)], ...] = ()
    pooling: Pooling
    normalize: bool
    similarity: Similarity

    @model_validator(mode="after")
    def _check_prefixes(self) -> Self:
        if too_long := [size for size in self.matryoshka_dimensions if size >= self.dimension]:
            raise ValueError(f"matryoshka_dimensions has {too_long[0]}, of {self.dimension} in all")
        return self


class Text(_Section):
    """How texts are prepared: length limit in tokens, and the prefixes that queries and documents get."""

    max_length: int = Field(gt=0, le=1_000_000)
    query_prefix: str = ""
    document_prefix: str = ""


class Numerics(_Section):
    """How the graph computes.

    ``scheme`` says in words how the graph got its precision: ``as trained``, ``dynamic int8, …``.
    ``batch_invariant`` is about the graph alone: it promises that a text's row does not depend, bit for bit,
    on the other rows of a batch without padding. An encoder can give what a graph does not promise: int8
    texts run one at a time are invariant in use.
    """

    precision: Precision
    scheme: str
    batch_invariant: bool


InputName = Literal["input_ids", "attention_mask", "token_type_ids"]
_NEEDED_INPUTS: tuple[InputName, ...] = ("input_ids", "attention_mask")


def _check_inputs(inputs: tuple[InputName, ...]) -> tuple[InputName, ...]:
    if missing := [name for name in _NEEDED_INPUTS if name not in inputs]:
        raise ValueError(f"{missing[0]} is missing")
    return inputs


class Graph(_Section):
    """Inputs, output and operator versions of ``model.onnx``."""

    inputs: Annotated[
        tuple[InputName, ...],
        AfterValidator(_check_inputs),
        Field(json_schema_extra={"allOf": [{"contains": {"const": name}} for name in _NEEDED_INPUTS]}),
    ]
    """The encoder knows what to feed these and no others."""
    output: str = OUTPUT_NAME
    opset: int = Field(gt=0)
    ir_version: int = Field(gt=0)


class Parity(_Section):
    """How near the exported graph is to the torch model, measured on real texts at export time."""

    cosine_min: float
    """Lowest cosine between both vectors of a text."""
    cosine_mean: float
    top10_overlap: float
    """Share of a text's ten nearest other texts that both find."""
    texts: int = Field(gt=0)
    score_change_max: float | None = None
    """Largest change of a cosine between two of the texts; None in bundles made before it was measured."""


class Quality(_Section):
    """One measured figure: the metric on a data set, its 95 % interval, and the base model's value."""

    dataset: str
    metric: str
    value: float
    ci95: tuple[float, float] | None = None
    before: float | None = None


class Threshold(_Section):
    """The similarity from which on two texts match, chosen on judged pairs for a wanted precision."""

    score: float
    """Cosine or dot product, as ``embedding.similarity`` says; a match has at least this."""
    wanted_precision: float = Field(gt=0, le=1)
    precision: float = Field(ge=0, le=1)
    """Share of the pairs from ``score`` on that match, on the pairs it was chosen on."""
    precision_ci95: tuple[float, float]
    recall: float = Field(ge=0, le=1)
    """Share of the matching pairs that have at least ``score``."""
    pairs: int = Field(gt=0)
    positives: int = Field(gt=0)
    dataset: str
    sha256: Sha256 = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the file with the pairs."""


ThresholdName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class Calibration(TypedDict, total=False):
    """Figures measured on the model's own vectors; each is there only where it was measured."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    int8_scale: float
    """What components are multiplied by to be stored as signed bytes."""
    thresholds: dict[ThresholdName, Threshold]
    """By name; ``cl-haystack evaluate BUNDLE PAIRS --calibrate`` writes them."""


class Manifest(_Section):
    """Everything that serving needs to know of a model, as stored in ``manifest.json``."""

    format: Literal["cl-haystack-bundle"] = FORMAT
    format_version: Literal[1] = FORMAT_VERSION
    name: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")  # it goes to terminals
    space_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    fingerprint: str = Field(pattern=r"^[0-9a-f]{32}$")
    files: dict[str, FileEntry]
    embedding: Embedding
    text: Text
    numerics: Numerics
    graph: Graph
    training: dict[str, Any] = Field(default_factory=dict)
    parity: Parity | None = None
    quality: tuple[Quality, ...] = ()
    calibration: Calibration = Field(default_factory=Calibration)
    producer: dict[str, str] = Field(default_factory=dict)
    checksum: Sha256 | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Last, so that it is easily found: see :mod:`cl_haystack.bundle.manifest_file`."""
