"""What a training run is told: one frozen object, each field with its unit and the reason of its default.

It is read from and written to YAML, so that a run can be repeated from one small file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cl_haystack.errors import ConfigurationError

if TYPE_CHECKING:
    from cl_haystack.training.losses import Loss

Schedule = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
]

_CONTRASTIVE_RATE = 1e-4
_OTHER_RATE = 2e-5
_BASE_WEIGHT = 0.3
_MOST_AVERAGED_PAIRS = 100_000


class TrainingConfig(BaseModel):
    """Options of the training loop. A loss owns its own parameters.

    :param num_epochs: passes over the pairs; 3 suits a few hundred to a few thousand.
    :param batch_size: pairs of one step on one device; each anchor sees ``batch_size - 1`` in-batch
        negatives.
    :param mini_batch_size: texts that are embedded together, with recomputation (GradCache): batches of any
        size in bounded memory, for a third more time. None keeps all activations of a batch.
    :param max_length: length limit of the checkpoint in tokens; None keeps the model's.
    :param training_length: in training, texts are cut to this many tokens; None cuts at ``max_length`` only.
        On held-out claims the heads of documents taught more than whole ones, in half the time; the test
        split did not confirm the gain (docs/experiments.md). Raise it where the answers stand far behind the
        beginning.
    :param query_prefix: put before every anchor, and stored in the checkpoint; None keeps the model's.
    :param document_prefix: put before every positive and negative; None keeps the model's.
    :param mixing: how several data sets share a run: ``proportional`` or ``round_robin``.
    :param learning_rate: peak of the schedule. None is 1e-4 where all losses have in-batch negatives, else
        2e-5. On hundreds of pairs 1e-4 gains far more than the customary 2e-5 on documents that pairs
        name; on others no gain is proven. CoSENT loses at 1e-4 (docs/experiments.md).
    :param layer_decay: each layer learns at this fraction of the rate of the layer above it.
    :param schedule: how the rate goes on after the warm-up, by transformers' name; those that need options
        of their own go through ``arguments``.
    :param warmup_ratio: share of the steps in which the rate rises from 0.
    :param weight_decay: of AdamW, on matrices only.
    :param max_gradient_norm: gradients are scaled down to this norm.
    :param dropout: of all layers. None is 0, with which a CPU trains 1.4 to 2 times as fast, and 0.1 for a
        loss that compares a text with itself (SimCSE).
    :param gradient_accumulation_steps: batches whose gradients are added up before a step.
    :param gradient_checkpointing: recompute each layer in the backward pass; ``mini_batch_size`` saves more.
    :param base_weight: share of the base model in the final weights, 0 to 1 (WiSE-FT, Wortsman et al. 2022,
        arXiv:2109.01903). None is 0.3 where all losses have in-batch negatives or learn from scores, there
        are at most 100,000 pairs and the base model embeds texts already, else 0: of what pairs teach about
        texts that they do not name, averaging keeps the gain and drops much of the noise
        (docs/experiments.md).
    :param lora_rank: train low-rank adapters of this rank only (needs the extra [lora]), merged into the
        weights at the end; 0 trains all weights.
    :param precision: ``auto`` computes in bf16 where the hardware is faster in it; weights, pooling and loss
        are fp32.
    :param compile: compile the transformer with torch.compile.
    :param num_workers: processes that tokenize; 0 does it between two steps.
    :param evaluations: evaluations during training, evenly spread, the last at the end; needs a task.
    :param evaluation_documents: documents searched in these evaluations: all judged ones, and a sample of
        the others, so that measuring takes a small part of the time.
    :param patience: stop after this many evaluations without a better one; None never. Needs a task.
    :param save_interval_s: seconds between two saved states that an interrupted run goes on from.
    :param seed: of the order of pairs and of dropout.
    :param arguments: further ``transformers.TrainingArguments`` by name, such as ``report_to``; those that
        the fields above stand for are refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_epochs: int = Field(default=3, ge=1)
    batch_size: int = Field(default=32, ge=1)
    mini_batch_size: int | None = Field(default=None, ge=1)
    max_length: int | None = Field(default=None, ge=4)
    training_length: int | None = Field(default=128, ge=4)
    query_prefix: str | None = None
    document_prefix: str | None = None
    mixing: Literal["proportional", "round_robin"] = "proportional"

    learning_rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    schedule: Schedule = "linear"
    warmup_ratio: float = Field(default=0.1, ge=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0)
    max_gradient_norm: float = Field(default=1.0, gt=0)
    dropout: float | None = Field(default=None, ge=0, lt=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    gradient_checkpointing: bool = False
    base_weight: float | None = Field(default=None, ge=0, lt=1)
    lora_rank: int = Field(default=0, ge=0)

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: bool = False
    num_workers: int = Field(default=0, ge=0)

    evaluations: int = Field(default=3, ge=1)
    evaluation_documents: int = Field(default=2_000, ge=1)
    patience: int | None = Field(default=None, ge=1)
    save_interval_s: float = Field(default=120.0, ge=0)
    seed: int = 42
    arguments: dict[str, Any] = Field(default_factory=dict)

    def settled(self, losses: "Sequence[Loss]", *, num_pairs: int, base_embeds_texts: bool = True) -> Self:
        """Return the configuration with the defaults that depend on what is trained.

        :param losses: those of all data sets.
        :param num_pairs: training pairs of all data sets.
        :param base_embeds_texts: whether the base model is a text encoder, no mere language model.
        :returns: the same, with learning rate and share of the base model where none was given.
        """
        contrastive = all(loss.in_batch_negatives for loss in losses)
        averaged = base_embeds_texts and num_pairs <= _MOST_AVERAGED_PAIRS
        averaged &= all(loss.in_batch_negatives or "score" in loss.requires for loss in losses)
        defaults = {
            "learning_rate": _CONTRASTIVE_RATE if contrastive else _OTHER_RATE,
            "base_weight": _BASE_WEIGHT if averaged else 0.0,
        }
        return self.model_copy(update={n: v for n, v in defaults.items() if getattr(self, n) is None})

    @classmethod
    def checked(cls, **options: Any) -> Self:
        """Make a configuration from what a person typed.

        :param **options: fields by name.
        :returns: the configuration.
        :raises ConfigurationError: a value is out of range or a name is unknown; the first is named.
        """
        try:
            return cls(**options)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            if first["type"] == "extra_forbidden":
                known = ", ".join(cls.model_fields)
                raise ConfigurationError(f"unknown option {name!r}; known options: {known}") from None
            raise ConfigurationError(f"{name} is {first['input']!r}: {first['msg']}") from None

    @classmethod
    def from_yaml(cls, path: str | Path, **changes: Any) -> Self:
        """Read a configuration.

        :param path: a YAML file with fields by name; what it leaves out has its default.
        :param **changes: fields that override the file's.
        :returns: the configuration.
        :raises ConfigurationError: the file cannot be read, or an option is wrong.
        """
        try:
            options = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigurationError(f"{path} cannot be read as YAML ({error})") from None
        if not isinstance(options, dict | None):
            found = type(options).__name__
            raise ConfigurationError(f"{path} holds a {found}; expected options, one 'name: value' a line")
        try:
            return cls.checked(**{**(options or {}), **changes})
        except (ConfigurationError, TypeError) as error:
            raise ConfigurationError(f"{path}: {error}") from None

    def to_yaml(self, path: str | Path) -> None:
        """Write all fields, to be read back with :meth:`from_yaml`.

        :param path: the file to write.
        """
        Path(path).write_text(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
