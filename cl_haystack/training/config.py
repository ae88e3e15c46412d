"""What a training run is told: one frozen object, each field with its unit and the reason of its default."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cl_haystack.errors import ConfigurationError


class TrainingConfig(BaseModel):
    """Options of the training loop. A loss owns its own parameters.

    :param num_epochs: passes over the pairs; 3 suits a few hundred to a few thousand.
    :param batch_size: pairs of one optimizer step; each anchor sees ``batch_size - 1`` in-batch negatives.
    :param max_length: length limit in tokens, for training and for the checkpoint; None keeps the model's.
    :param learning_rate: peak of the schedule. 5e-5 gains two to four times as much as the customary 2e-5
        on hundreds of pairs.
    :param warmup_ratio: share of the steps in which the rate rises from 0; it then falls to 0 linearly.
    :param weight_decay: of AdamW, on matrices only.
    :param max_gradient_norm: gradients are scaled down to this norm.
    :param seed: of the order of pairs and of dropout.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_epochs: int = Field(default=3, ge=1)
    batch_size: int = Field(default=32, ge=2)
    max_length: int | None = Field(default=None, ge=4)
    learning_rate: float = Field(default=5e-5, gt=0)
    warmup_ratio: float = Field(default=0.1, ge=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0)
    max_gradient_norm: float = Field(default=1.0, gt=0)
    seed: int = 42

    @classmethod
    def checked(cls, **options: Any) -> Self:
        """Make a configuration from what a person typed.

        :param **options: fields by name.
        :returns: the configuration.
        :raises ConfigurationError: a value is out of range; the first is named.
        """
        try:
            return cls(**options)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise ConfigurationError(f"{name} is {first['input']!r}: {first['msg']}") from None
