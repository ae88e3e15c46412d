"""Export: the same vectors as torch, the same bytes twice, one space a checkpoint, and no half bundle."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cl_haystack.bundle import ModelBundle
from cl_haystack.bundle.manifest import Parity
from cl_haystack.encoder import Encoder
from cl_haystack.errors import BundleError, CheckpointError, ConfigurationError, DataError, ExportError
from cl_haystack.export import export as export_module
from cl_haystack.export import export_bundle
from cl_haystack.export import onnx as onnx_module
from cl_haystack.export.parity import measure_parity
from cl_haystack.training import SentenceEncoder, losses
from tests.tiny_bundle import make_tiny_bundle
from tests.tiny_model import make_tiny_checkpoint, make_tiny_encoder

TEXTS = ["the cat sat on the mat", "dog", "red house " * 30, "", "query passage"]


@pytest.mark.parametrize(
    ("pooling", "normalize"),
    [
        ("mean", True),
        ("mean", False),
        ("cls", True),
        ("max", False),
        ("mean_sqrt_len_tokens", False),
        ("weightedmean", False),
        ("lasttoken", False),
        ("cls+mean", True),
    ],
)
def test_bundle_gives_the_vectors_of_torch(tmp_path: Path, pooling: str, normalize: bool) -> None:
    checkpoint = make_tiny_checkpoint(
        tmp_path, pooling=pooling, normalize=normalize, query_prefix="query: ", document_prefix="passage: "
    )
    bundle = export_bundle(checkpoint, tmp_path / "bundle")
    torch_encoder, encoder = SentenceEncoder.load(checkpoint), Encoder.load(bundle)
    np.testing.assert_allclose(
        encoder.encode_queries(TEXTS), torch_encoder.encode_queries(TEXTS), atol=2e-6, rtol=1e-5
    )
    np.testing.assert_allclose(
        encoder.encode_documents(TEXTS), torch_encoder.encode_documents(TEXTS), atol=2e-6, rtol=1e-5
    )
    assert bundle.manifest.embedding.pooling == pooling
    assert bundle.manifest.parity is not None
    assert bundle.manifest.parity.cosine_min > 0.99999


def test_same_checkpoint_same_bytes_another_checkpoint_another_space(tmp_path: Path) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path / "one")
    first = export_bundle(checkpoint, tmp_path / "first")
    second = export_bundle(checkpoint, tmp_path / "second")
    shorter = export_bundle(checkpoint, tmp_path / "shorter", max_length=8)
    other = export_bundle(make_tiny_checkpoint(tmp_path / "two", pooling="cls"), tmp_path / "other")
    assert first.manifest.files == second.manifest.files
    assert first.fingerprint == second.fingerprint
    assert shorter.space_id == first.space_id
    assert shorter.fingerprint != first.fingerprint
    assert other.space_id != first.space_id


def test_prefixes_that_are_given_go_before_the_checkpoints_own(tmp_path: Path) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path / "checkpoint", query_prefix="query: ")
    own = export_bundle(checkpoint, tmp_path / "own")
    bundle = export_bundle(checkpoint, tmp_path / "bundle", query_prefix="", document_prefix="passage: ")
    assert (bundle.manifest.text.query_prefix, bundle.manifest.text.document_prefix) == ("", "passage: ")
    assert bundle.space_id != own.space_id
    plain, encoder = SentenceEncoder.load(checkpoint, query_prefix=""), Encoder.load(bundle)
    np.testing.assert_allclose(
        encoder.encode_documents(TEXTS),
        plain.encode_documents([f"passage: {text}" for text in TEXTS]),
        atol=2e-6,
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        encoder.encode_queries(TEXTS), plain.encode_queries(TEXTS), atol=2e-6, rtol=1e-5
    )


def test_prefixes_that_were_trained_are_those_that_the_encoder_truncates_to(tmp_path: Path) -> None:
    loss = losses.Matryoshka(losses.InfoNCE(), [4, 16, 8])
    encoder = make_tiny_encoder(tmp_path / "raw")
    encoder.save(tmp_path / "checkpoint", training={"loss": loss.describe()})
    bundle = export_bundle(tmp_path / "checkpoint", tmp_path / "bundle")
    assert bundle.manifest.embedding.matryoshka_dimensions == (8, 4)
    expected = encoder.encode_queries(TEXTS)[:, :4]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = Encoder.load(bundle, truncate_dim=4).encode_queries(TEXTS)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_graph_that_differs_from_torch_is_refused_unless_forced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        export_module,
        "measure_parity",
        lambda *_: Parity(cosine_min=0.98, cosine_mean=0.99, top10_overlap=0.9, texts=5),
    )
    checkpoint = make_tiny_checkpoint(tmp_path)
    with pytest.raises(ExportError, match=r"0\.980000 on 5 texts, expected at least 0\.9999; nothing was"):
        export_bundle(checkpoint, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    assert export_bundle(checkpoint, tmp_path / "allowed", min_cosine=0.97).manifest.parity is not None
    with caplog.at_level("WARNING"):
        forced = export_bundle(checkpoint, tmp_path / "forced", force=True)
    assert "written all the same, as forced" in caplog.text
    assert forced.manifest.parity is not None
    assert forced.manifest.parity.cosine_min == 0.98


def test_parity_notices_a_wrong_model(tmp_path: Path) -> None:
    one = SentenceEncoder.load(make_tiny_checkpoint(tmp_path / "one"))
    other = SentenceEncoder.load(make_tiny_checkpoint(tmp_path / "two", pooling="cls"))
    texts = [f"the {word} sat" for word in ("cat", "dog", "mat", "house", "red", "blue")]
    right = measure_parity(one.encode_documents(texts), one.encode_documents(texts))
    assert right.cosine_min == pytest.approx(1)
    assert right.top10_overlap == 1
    assert right.score_change_max == 0
    wrong = measure_parity(one.encode_documents(texts), other.encode_documents(texts))
    assert wrong.cosine_min < 0.9999
    assert wrong.score_change_max is not None
    assert wrong.score_change_max > 1e-3


def test_bytes_of_vectors_are_filled_and_keep_their_neighbours(tmp_path: Path) -> None:
    """In bytes, the vectors of the texts that set the scale lose nearly nothing; also cut short."""
    checkpoint = make_tiny_checkpoint(tmp_path)
    texts = [text for text in TEXTS if text.strip()]
    checked = tmp_path / "check.txt"
    checked.write_text("\n".join(texts))
    encoder = Encoder.load(export_bundle(checkpoint, tmp_path / "bundle", check_texts=checked))
    vectors = encoder.encode_documents(texts)
    short = vectors[:, :8] / np.linalg.norm(vectors[:, :8], axis=1, keepdims=True)
    for unit in (vectors, short):
        found = encoder.quantize(unit, "int8").astype(np.float32)
        assert np.abs(found).max() >= 90
        assert ((found * unit).sum(axis=1) / np.linalg.norm(found, axis=1)).min() > 0.999


def test_interrupted_export_keeps_the_old_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path)
    before = export_bundle(checkpoint, tmp_path / "bundle").fingerprint
    listing = sorted(path.name for path in tmp_path.iterdir())

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export_module, "measure_parity", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export_bundle(make_tiny_checkpoint(tmp_path / "other", pooling="cls"), tmp_path / "bundle")
    assert ModelBundle.load(tmp_path / "bundle").fingerprint == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*listing, "other"])


def test_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    precious = tmp_path / "photos"
    precious.mkdir()
    (precious / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(BundleError, match="not a bundle"):
        export_bundle(make_tiny_checkpoint(tmp_path), precious)
    assert (precious / "cat.jpg").read_bytes() == b"meow"


@pytest.mark.parametrize(
    ("manifest", "file", "message"),
    [
        ('{"short_name": "app"}', "thesis.txt", "not a bundle"),
        ("", "thesis.txt", "not a bundle"),
        (None, "LICENSE", "holds 'LICENSE', which is not of its bundle"),
        (None, "notes", "holds 'notes', which is not of its bundle"),
    ],
)
def test_nothing_but_the_files_of_a_bundle_is_replaced(
    tmp_path: Path, manifest: str | None, file: str, message: str
) -> None:
    """Web applications have a manifest.json too."""
    folder = make_tiny_bundle(tmp_path / "out")
    if manifest is not None:
        (folder / "manifest.json").write_text(manifest)
    (folder / file).write_text("mine")
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(BundleError, match=message):
        export_bundle(make_tiny_checkpoint(tmp_path), folder, force=True)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert (folder / file).read_text() == "mine"


def test_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        export_bundle(tmp_path / "nowhere", tmp_path / "bundle")


def test_a_model_that_fits_no_onnx_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path)
    size = sum(parameter.nbytes for parameter in SentenceEncoder.load(checkpoint).parameters())
    monkeypatch.setattr(onnx_module, "MAX_BYTES", {"model.onnx": size - 1})
    for precision in ("fp32", "int8"):
        with pytest.raises(ExportError, match=f"has {size:,} bytes of weights as it is traced"):
            export_bundle(checkpoint, tmp_path / "bundle", precision=precision)
    assert export_bundle(checkpoint, tmp_path / "half", precision="fp16").precision == "fp16"


def test_length_without_room_for_a_word(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="special tokens take 2"):
        export_bundle(make_tiny_checkpoint(tmp_path), tmp_path / "bundle", max_length=2)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("content", ["", "one line\n"])
def test_too_few_check_texts(tmp_path: Path, content: str) -> None:
    (tmp_path / "texts").write_text(content)
    with pytest.raises(DataError, match="at least two"):
        export_bundle(make_tiny_checkpoint(tmp_path), tmp_path / "b", check_texts=tmp_path / "texts")


@pytest.mark.slow
def test_torch_exports_where_optimum_is_not_installed(tmp_path: Path) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path)
    code = (
        "import sys; sys.modules['optimum'] = None\n"
        "from cl_haystack.export import export_bundle\n"
        f"made = export_bundle({str(checkpoint)!r}, {str(tmp_path / 'torch')!r}, exporter='torch')\n"
        "print(made.manifest.producer)\n"
        f"export_bundle({str(checkpoint)!r}, {str(tmp_path / 'optimum')!r})"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "'torch'" in finished.stdout
    assert "optimum" not in finished.stdout
    last = finished.stderr.strip().splitlines()[-1]
    assert "ExportError: exporter 'optimum' needs optimum" in last
    assert "choose exporter 'torch'" in last


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.long)])
def test_real_bundle_equals_sentence_transformers(base_model: Path, base_bundle: Path, count: int) -> None:
    """Real texts of the standard library, 20 long ones made of them among them, at cosine ≥ 0.99999."""
    from sentence_transformers import SentenceTransformer

    from cl_haystack.data.stdlib_docs import read_stdlib_docstrings

    bodies = [docstring.body for docstring in read_stdlib_docstrings()[:980]]
    texts = bodies[: count - 20]
    texts += [" ".join(bodies[start : start + 40]) for start in range(0, 800, 40)]
    theirs = SentenceTransformer(str(base_model), device="cpu")
    assert len(texts) == count
    assert max(len(ids) for ids in theirs.tokenizer(texts)["input_ids"]) > theirs.max_seq_length == 256
    cosines = (Encoder.load(base_bundle).encode_documents(texts) * theirs.encode(texts)).sum(axis=1)
    assert cosines.min() >= 0.99999
