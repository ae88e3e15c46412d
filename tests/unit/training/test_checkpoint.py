"""The checkpoint: sentence-transformers reads it, every layout is read, none is half-written."""

import json
import resource
from pathlib import Path

import numpy as np
import pytest

from cl_haystack.errors import CheckpointError
from cl_haystack.training import SentenceEncoder
from cl_haystack.training.checkpoint import read_layout, written_beside
from cl_haystack.training.model import resolve_model
from tests.tiny_model import make_tiny_checkpoint, make_tiny_encoder
from tests.unit.training.processes import run

TEXTS = ["the cat sat on the mat", "dog", "red house " * 30, "query passage"]


@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
@pytest.mark.parametrize("normalize", [True, False])
def test_sentence_transformers_reads_the_same_model(tmp_path: Path, pooling: str, normalize: bool) -> None:
    from sentence_transformers import SentenceTransformer

    checkpoint = make_tiny_checkpoint(
        tmp_path, pooling=pooling, normalize=normalize, query_prefix="query: ", document_prefix="passage: "
    )
    ours = SentenceEncoder.load(checkpoint)
    theirs = SentenceTransformer(str(checkpoint), device="cpu")
    np.testing.assert_allclose(ours.encode_queries(TEXTS), theirs.encode_query(TEXTS), atol=1e-6)
    np.testing.assert_allclose(ours.encode_documents(TEXTS), theirs.encode_document(TEXTS), atol=1e-6)
    assert theirs.max_seq_length == ours.max_length == 16


def test_a_checkpoint_that_sentence_transformers_wrote_is_read(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(make_tiny_checkpoint(tmp_path)), device="cpu")
    theirs.save(str(tmp_path / "theirs"))
    ours = SentenceEncoder.load(tmp_path / "theirs")
    np.testing.assert_allclose(ours.encode_documents(TEXTS), theirs.encode(TEXTS), atol=1e-6)


def test_layout_of_sentence_transformers_6(tmp_path: Path) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path, pooling="cls")
    modules = json.loads((checkpoint / "modules.json").read_text())
    for module in modules:
        module["type"] = module["type"].replace(".models.", ".sentence_transformer.modules.")
    (checkpoint / "modules.json").write_text(json.dumps(modules))
    (checkpoint / "1_Pooling" / "config.json").write_text(
        json.dumps({"embedding_dimension": 16, "pooling_mode": "cls", "include_prompt": True})
    )
    (checkpoint / "sentence_bert_config.json").unlink()
    tokenizer = json.loads((checkpoint / "tokenizer_config.json").read_text())
    (checkpoint / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "model_max_length": 16}))
    layout = read_layout(checkpoint)
    assert (layout.pooling, layout.normalize, layout.max_length) == ("cls", True, 16)
    assert SentenceEncoder.load(checkpoint).encode_queries(["cat"]).shape == (1, 16)


def test_bare_transformer_is_pooled_by_mean_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path)
    SentenceEncoder.load(checkpoint)
    assert not caplog.messages
    for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
        (checkpoint / name).unlink()
    layout = read_layout(checkpoint)
    assert (layout.pooling, layout.normalize, layout.query_prefix) == ("mean", False, "")
    assert layout.max_length == 64
    SentenceEncoder.load(checkpoint)
    assert "has no modules.json" in caplog.text


@pytest.mark.parametrize("name", ["roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"])
def test_length_and_lower_case_in_a_file_named_after_the_architecture(tmp_path: Path, name: str) -> None:
    from sentence_transformers import SentenceTransformer

    checkpoint = make_tiny_checkpoint(tmp_path)
    (checkpoint / "sentence_bert_config.json").unlink()
    (checkpoint / f"sentence_{name}_config.json").write_text('{"max_seq_length": 8, "do_lower_case": true}')
    layout = read_layout(checkpoint)
    assert (layout.max_length, layout.lower_case) == (8, True)
    theirs = SentenceTransformer(str(checkpoint), device="cpu")
    np.testing.assert_allclose(
        SentenceEncoder.load(checkpoint).encode_documents(TEXTS), theirs.encode(TEXTS), atol=1e-6
    )


def test_the_first_file_that_states_anything_counts(tmp_path: Path) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path)
    (checkpoint / "sentence_roberta_config.json").write_text('{"max_seq_length": 8}')
    assert read_layout(checkpoint).max_length == 16
    (checkpoint / "sentence_bert_config.json").write_text("{}")
    assert read_layout(checkpoint).max_length == 8


def test_a_tokenizer_that_keeps_the_end_is_refused(tmp_path: Path) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path)
    file = checkpoint / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "truncation_side": "left"}))
    with pytest.raises(CheckpointError, match="keeps the end of long texts"):
        SentenceEncoder.load(checkpoint)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ([], "holds a JSON list"),
        ({"loss": "x"}, "loss is a JSON str"),
        ({"base_model": "m"}, "base_model is a JSON str"),
        ({"datasets": {}}, "datasets is a JSON dict"),
        ({"datasets": [{}, "x"]}, "datasets\\[1\\] is a JSON str"),
        ({"loss": {"name": "matryoshka", "dimensions": [0, -3, 4]}}, "loss.dimensions is no list"),
        ({"loss": {"name": "matryoshka", "dimensions": ["4"]}}, "loss.dimensions is no list"),
    ],
)
def test_provenance_that_no_trainer_wrote(tmp_path: Path, training: object, message: str) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path)
    (checkpoint / "cl_haystack.json").write_text(json.dumps(training))
    with pytest.raises(CheckpointError, match=rf"cl_haystack\.json: {message}"):
        read_layout(checkpoint)


@pytest.mark.parametrize(
    ("pooling", "message"),
    [
        ({"pooling_mode": "attention"}, "'attention'"),
        ({"pooling_mode": ["mean", "attention"]}, "'attention'"),
        ({"pooling_mode": []}, "pools by"),
    ],
)
def test_pooling_that_is_not_supported_is_named(
    tmp_path: Path, pooling: dict[str, object], message: str
) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path)
    (checkpoint / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    with pytest.raises(CheckpointError, match=message):
        read_layout(checkpoint)


def test_module_that_is_not_supported_is_named(tmp_path: Path) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path)
    modules = json.loads((checkpoint / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_LSTM", "type": "sentence_transformers.models.LSTM"})
    (checkpoint / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(CheckpointError, match="LSTM"):
        read_layout(checkpoint)


@pytest.mark.parametrize("name", ["./nowhere", "a/b/c", "/tmp/not/there"])
def test_path_that_is_not_there_never_asks_the_network(name: str) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint directory"):
        resolve_model(name)


def test_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="neither modules"):
        SentenceEncoder.load(tmp_path)


def test_damaged_weights_give_one_error(tmp_path: Path) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path)
    (checkpoint / "model.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        SentenceEncoder.load(checkpoint)


def test_a_tokenizer_of_another_model_is_refused_before_any_work(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    checkpoint = make_tiny_checkpoint(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.add_tokens([f"word{i}" for i in range(9)])
    tokenizer.save_pretrained(checkpoint)
    with pytest.raises(CheckpointError, match=r"embeddings of \d+ tokens, but its tokenizer gives ids up to"):
        SentenceEncoder.load(checkpoint)


def test_failed_save_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = make_tiny_encoder(tmp_path / "raw")
    target = tmp_path / "checkpoint"
    encoder.save(target, training={"run": 1})
    before = sorted(path.name for path in tmp_path.iterdir())

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cl_haystack.training.model.write_layout", full_disk)
    with pytest.raises(CheckpointError, match="No space left"):
        encoder.save(target, training={"run": 2})
    assert read_layout(target).training == {"run": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def save_on_a_small_disk(folder: Path, most_bytes: int) -> None:
    encoder = make_tiny_encoder(folder / "raw")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    with pytest.raises(CheckpointError, match="cannot be written"):
        encoder.save(folder / "checkpoint", training={"run": 2})


@pytest.mark.parametrize("most_bytes", [1_000, 100], ids=["weights", "config"])
def test_full_disk_leaves_the_old_checkpoint(tmp_path: Path, most_bytes: int) -> None:
    """The system itself refuses to write more than so many bytes of a file."""
    checkpoint = make_tiny_checkpoint(tmp_path)
    before = SentenceEncoder.load(checkpoint).encode_queries(TEXTS)
    run(save_on_a_small_disk, tmp_path, most_bytes)
    np.testing.assert_array_equal(SentenceEncoder.load(checkpoint).encode_queries(TEXTS), before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "raw"]


@pytest.mark.parametrize("fault", [KeyboardInterrupt, RuntimeError])
def test_interrupted_write_leaves_nothing(tmp_path: Path, fault: type[BaseException]) -> None:
    target = tmp_path / "out"

    def write_half() -> None:
        with written_beside(target) as draft:
            (draft / "half").write_text("…")
            raise fault

    with pytest.raises(fault):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_replacing_keeps_nothing_of_the_old(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for name in ("first", "second"):
        with written_beside(target) as draft:
            (draft / name).write_text(name)
    assert [path.name for path in target.iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("failing", [1, 2], ids=["old one moves away", "new one moves in"])
def test_a_replacement_that_fails_keeps_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    target = tmp_path / "out"
    with written_beside(target) as draft:
        (draft / "first").touch()
    rename, calls = Path.rename, []

    def fail_once(path: Path, to: Path) -> Path:
        calls.append(path)
        if len(calls) == failing:
            raise PermissionError(13, "Permission denied")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(PermissionError), written_beside(target) as draft:
        (draft / "second").touch()
    assert [path.name for path in target.iterdir()] == ["first"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
