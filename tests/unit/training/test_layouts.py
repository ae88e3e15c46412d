"""Any sentence-transformers checkpoint: read in its form, computed as there, written in the classic one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cl_haystack.data import Pair
from cl_haystack.errors import CheckpointError
from cl_haystack.training import ContrastiveTrainer, SentenceEncoder
from cl_haystack.training.checkpoint import read_layout, space_weights
from tests.tiny_architectures import ARCHITECTURES, MAX_LENGTH, TEXTS, make_tiny_transformer
from tests.tiny_model import make_tiny_checkpoint
from tests.unit.training.runs import changed

PROMPTS = {"query": "query: ", "document": "passage: "}
POOLINGS = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]


def make_theirs(
    folder: Path, architecture: str = "bert", pooling: Any = "mean", *more: Any, **options: Any
) -> Any:
    """Build a model with sentence-transformers and let it save the form that it writes today."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    transformer = Transformer(str(make_tiny_transformer(folder / "transformer", architecture)))
    modules = [transformer, Pooling(transformer.get_embedding_dimension(), pooling_mode=pooling), *more]
    theirs = SentenceTransformer(modules=modules, device="cpu", prompts=PROMPTS, **options)
    theirs.save(str(folder / "theirs"), create_model_card=False)  # which would ask the network
    return theirs


def assert_same_vectors(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours.encode_queries(TEXTS), theirs.encode_query(TEXTS), atol=2e-6)
    np.testing.assert_allclose(ours.encode_documents(TEXTS), theirs.encode_document(TEXTS), atol=2e-6)


def assert_read_and_written(folder: Path, theirs: Any) -> SentenceEncoder:
    """Read what sentence-transformers wrote, write it in the classic layout, let it read that."""
    from sentence_transformers import SentenceTransformer

    ours = SentenceEncoder.load(folder / "theirs")
    assert_same_vectors(ours, theirs)
    ours.save(folder / "classic", training={})
    assert_same_vectors(ours, SentenceTransformer(str(folder / "classic"), device="cpu"))
    assert_same_vectors(SentenceEncoder.load(folder / "classic"), theirs)
    return ours


def dense(inputs: int, outputs: int, **options: Any) -> Any:
    from sentence_transformers.base.modules import Dense

    torch.manual_seed(outputs)
    return Dense(inputs, outputs, **options)


def normalize() -> Any:
    from sentence_transformers.sentence_transformer.modules import Normalize

    return Normalize()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_architectures(tmp_path: Path, architecture: str) -> None:
    theirs = make_theirs(tmp_path, architecture, "mean", normalize())
    ours = assert_read_and_written(tmp_path, theirs)
    assert ours.max_length == theirs.max_seq_length == MAX_LENGTH
    assert max(len(text.ids) for text in ours.tokenizer.tokenize(TEXTS)) == MAX_LENGTH


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_is_trained_in_every_precision_of_a_cpu(
    tmp_path: Path, architecture: str, precision: str
) -> None:
    make_theirs(tmp_path, architecture)
    trainer = ContrastiveTrainer(
        tmp_path / "theirs", config=changed(precision=precision, batch_size=2, num_epochs=1)
    )
    report = trainer.train([Pair(anchor=text, positive=f"{text} too") for text in TEXTS if text])
    assert np.isfinite(report.last_loss)


@pytest.mark.parametrize(("architecture", "positions"), [("bert", 40), ("roberta", 38), ("mpnet", 38)])
def test_without_a_stated_limit_the_positions_are_it(
    tmp_path: Path, architecture: str, positions: int
) -> None:
    """With the 40 that RoBERTa's configuration states, it would look up positions that do not exist."""
    folder = make_tiny_transformer(tmp_path, architecture)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_max_length": 10**30}))
    encoder = SentenceEncoder.load(folder)
    assert encoder.max_length == positions
    assert np.isfinite(encoder.encode_documents(TEXTS)).all()


@pytest.mark.parametrize("pooling", [*POOLINGS, ("cls", "mean"), ("lasttoken", "max")])
def test_poolings(tmp_path: Path, pooling: Any) -> None:
    assert_read_and_written(tmp_path, make_theirs(tmp_path, "bert", pooling))


def test_dense_layers_belong_to_the_space(tmp_path: Path) -> None:
    layers = [dense(32, 24), dense(24, 8, bias=False, activation_function=torch.nn.GELU()), normalize()]
    ours = assert_read_and_written(tmp_path, make_theirs(tmp_path, "bert", "mean", *layers))
    assert ours.dimension == 8
    theirs, classic = read_layout(tmp_path / "theirs"), read_layout(tmp_path / "classic")
    assert [layer.activation for layer in classic.dense] == ["Tanh", "GELU"]
    assert space_weights(theirs) == space_weights(classic)
    changed = tmp_path / "classic" / "3_Dense" / "model.safetensors"
    raw = bytearray(changed.read_bytes())
    raw[-1] ^= 1
    changed.write_bytes(raw)
    assert space_weights(theirs) != space_weights(read_layout(tmp_path / "classic"))


def test_a_space_without_dense_layers_keeps_its_identity(tmp_path: Path) -> None:
    from cl_haystack.bundle.fingerprint import weights_digest

    checkpoint = make_tiny_checkpoint(tmp_path)
    assert space_weights(read_layout(checkpoint)) == weights_digest(checkpoint)


def test_truncation_keeps_the_leading_dimensions(tmp_path: Path) -> None:
    theirs = make_theirs(tmp_path, "bert", "mean", truncate_dim=12)
    ours = assert_read_and_written(tmp_path, theirs)
    assert ours.dimension == 12
    assert ours.encode_queries(["cat"]).shape == (1, 12)


def test_truncated_vectors_of_a_normalizing_model_have_unit_length(tmp_path: Path) -> None:
    theirs = make_theirs(tmp_path, "bert", "mean", normalize(), truncate_dim=12)
    vectors = SentenceEncoder.load(tmp_path / "theirs").encode_queries(TEXTS)
    np.testing.assert_allclose(vectors, theirs.encode_query(TEXTS, normalize_embeddings=True), atol=2e-6)


def test_lower_casing_before_a_tokenizer_that_keeps_case(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    make_theirs(tmp_path, "roberta")
    file = tmp_path / "theirs" / "sentence_bert_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "do_lower_case": True}))
    theirs = SentenceTransformer(str(tmp_path / "theirs"), device="cpu")
    ours = assert_read_and_written(tmp_path, theirs)
    np.testing.assert_array_equal(ours.encode_queries(["DOG"]), ours.encode_queries(["dog"]))


def test_training_of_dense_layers_is_saved(tmp_path: Path) -> None:
    make_theirs(tmp_path, "bert", "mean", dense(32, 8))
    encoder = SentenceEncoder.load(tmp_path / "theirs")
    with torch.no_grad():
        encoder.dense[0].linear.weight.fill_(0.5)
    encoder.save(tmp_path / "trained", training={})
    saved = load_file(tmp_path / "trained" / "2_Dense" / "model.safetensors")
    assert saved["linear.weight"].eq(0.5).all()


def test_pickled_weights_of_a_dense_layer_are_refused(tmp_path: Path) -> None:
    make_theirs(tmp_path, "bert", "mean", dense(32, 8))
    (tmp_path / "theirs" / "2_Dense" / "model.safetensors").rename(
        tmp_path / "theirs/2_Dense/pytorch_model.bin"
    )
    with pytest.raises(
        CheckpointError, match=r"holds pytorch_model\.bin, but only model\.safetensors is read"
    ):
        SentenceEncoder.load(tmp_path / "theirs")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation_function": "os.system"}, "names the activation 'os.system'"),
        ({"module_output_name": "token_embeddings"}, "module_output_name 'token_embeddings'"),
        ({"in_features": "many"}, "no usable sizes"),
        ({"in_features": 16}, "takes 16 features, but is given 32"),
        ({"out_features": 9}, "size mismatch"),
    ],
)
def test_dense_layer_that_cannot_be_used(tmp_path: Path, change: dict[str, object], message: str) -> None:
    make_theirs(tmp_path, "bert", "mean", dense(32, 8))
    file = tmp_path / "theirs" / "2_Dense" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(CheckpointError, match=message):
        SentenceEncoder.load(tmp_path / "theirs")


@pytest.mark.parametrize(
    "kinds",
    [
        ["Pooling", "Transformer"],
        ["Transformer", "Pooling", "Normalize", "Dense"],
        ["Transformer", "Pooling", "Pooling"],
        ["Transformer", "Pooling", "LSTM"],
    ],
)
def test_order_of_modules_that_is_not_supported(tmp_path: Path, kinds: list[str]) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path)
    modules = [
        {"idx": i, "path": "", "type": f"sentence_transformers.models.{k}"} for i, k in enumerate(kinds)
    ]
    (checkpoint / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(
        CheckpointError, match=f"lists {', '.join(kinds)}; supported are Transformer, Pooling"
    ):
        read_layout(checkpoint)


def test_pooling_without_the_prompt_is_refused_where_there_is_one(tmp_path: Path) -> None:
    for prefix in ("", "query: "):
        checkpoint = make_tiny_checkpoint(tmp_path / (prefix or "none"), query_prefix=prefix)
        file = checkpoint / "1_Pooling" / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "include_prompt": False}))
        if prefix:
            with pytest.raises(CheckpointError, match="leaves prompts out of the pooling"):
                read_layout(checkpoint)
        else:
            assert read_layout(checkpoint).pooling == "mean"
