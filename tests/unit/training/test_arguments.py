"""Arguments for transformers, and those that fields of ours stand for."""

from pathlib import Path

import pytest

from cl_haystack.errors import ConfigurationError
from tests.unit.training.runs import trained


def test_options_that_transformers_refuses(checkpoint: Path) -> None:
    for arguments, message in (({"no_such": 1}, "no_such"), ({"lr_scheduler_type": "x"}, "SchedulerType")):
        with pytest.raises(ConfigurationError, match=f"TrainingArguments refuses the options: .*{message}"):
            trained(checkpoint, arguments=arguments)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("learning_rate", "set learning_rate"),
        ("per_device_train_batch_size", "set batch_size"),
        ("num_train_epochs", "set num_epochs"),
        ("optim", "AdamW"),
        ("output_dir", "state"),
    ],
)
def test_arguments_that_fields_stand_for_are_refused(checkpoint: Path, name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=f"arguments hold {name!r}.*{hint}"):
        trained(checkpoint, arguments={name: 1})
