"""The configuration: out to YAML and back, and every mistake named in a line."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cl_haystack.errors import ConfigurationError
from cl_haystack.training import TrainingConfig

text = st.text(st.characters(codec="utf-8"), max_size=20)
configurations = st.fixed_dictionaries(
    {},
    optional={
        "num_epochs": st.integers(1, 10**9),
        "mini_batch_size": st.none() | st.integers(1, 10**6),
        "query_prefix": st.none()
        | text
        | st.sampled_from(["yes", "null", "1e3", "query: ", " - a: b #", "\x85"]),
        "learning_rate": st.floats(1e-300, 1e300),
        "layer_decay": st.floats(0, 1, exclude_min=True),
        "dropout": st.none() | st.floats(0, 1, exclude_max=True),
        "base_weight": st.floats(0, 1, exclude_max=True),
        "mixing": st.sampled_from(["proportional", "round_robin"]),
        "gradient_checkpointing": st.booleans(),
        "seed": st.integers(0, 2**32 - 1),
        "arguments": st.dictionaries(text, st.none() | st.booleans() | st.integers() | text | st.lists(text)),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(configurations)
def test_yaml_holds_every_option(tmp_path: Path, options: dict[str, Any]) -> None:
    config = TrainingConfig.checked(**options)
    config.to_yaml(tmp_path / "config.yaml")
    assert TrainingConfig.from_yaml(tmp_path / "config.yaml") == config


def test_what_the_file_leaves_out_has_its_default_and_changes_come_last(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("learning_rate: 2e-5\nbatch_size: 8\n")
    config = TrainingConfig.from_yaml(file, batch_size=16)
    assert (config.learning_rate, config.batch_size) == (2e-5, 16)
    assert config.num_epochs == TrainingConfig().num_epochs
    file.write_text("")
    assert TrainingConfig.from_yaml(file) == TrainingConfig()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("batchsize: 8", "config.yaml: unknown option 'batchsize'; known options: num_epochs, batch_size"),
        ("batch_size: 0", "config.yaml: batch_size is 0: .*greater than or equal to 1"),
        ("batch_size: many", "batch_size is 'many': .*valid integer"),
        ("learning_rate: .inf", "learning_rate is inf"),
        ("mixing: shuffled", "mixing is 'shuffled': .*'proportional' or 'round_robin'"),
        ("schedule: linea", "schedule is 'linea': .*'linear'"),
        ("- batch_size", "holds a list; expected options, one 'name: value' a line"),
        ("batch_size: [1", "cannot be read as YAML"),
        ("1: 2", "config.yaml: "),
        ("a: &x [*x]", "config.yaml"),
        ("!!python/object/apply:os.getcwd []", "cannot be read as YAML"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        TrainingConfig.from_yaml(file)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        TrainingConfig.from_yaml(tmp_path / "nowhere.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        TrainingConfig.from_yaml(tmp_path / "bytes.yaml")


def test_options_of_transformers_that_plain_types_cannot_hold(tmp_path: Path) -> None:
    config = TrainingConfig(arguments={"logging_dir": Path("logs")})
    config.to_yaml(tmp_path / "config.yaml")
    assert TrainingConfig.from_yaml(tmp_path / "config.yaml").arguments == {"logging_dir": "logs"}
