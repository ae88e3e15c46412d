"""Bad input to the command line gives one clear line and exit status 1, never a traceback."""

import json
import socket
import sys
from pathlib import Path

import pytest

from cl_haystack.cli.main import main
from cl_haystack.export import export_bundle
from tests.tiny_model import make_tiny_checkpoint


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    return export_bundle(make_tiny_checkpoint(folder), folder / "bundle").path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    file.write_text('{"_id": "1", "title": "cat", "text": "the cat sat"}\n')
    return file


def fail(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> str:
    """Run the command, expect exit status 1 and one line on standard error; return that line."""
    monkeypatch.setattr(sys, "argv", ["cl-haystack", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture
def error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    return lambda *arguments: fail(capsys, monkeypatch, *arguments)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_missing_bundle(error, tmp_path: Path) -> None:
    assert "no such directory" in error("inspect", tmp_path / "nowhere")


def test_corrupt_bundle(error, bundle: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    data = bytearray((copy / "model.onnx").read_bytes())
    data[1000] ^= 1
    (copy / "model.onnx").write_bytes(data)
    assert "SHA-256" in error("inspect", copy)


def test_checkpoint_given_for_a_bundle(error, tmp_path: Path) -> None:
    assert "looks like a checkpoint" in error("inspect", make_tiny_checkpoint(tmp_path))


def test_pairs_file_with_a_broken_line(error, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"anchor": "a", "positive": "b"}\n{"anchor": "a", \n')
    line = error("train", pairs, "--model", make_tiny_checkpoint(tmp_path), "-o", tmp_path / "out")
    assert f"{pairs}:2: " in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.csv"])
def test_empty_file(error, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    line = error("train", tmp_path / name, "--model", make_tiny_checkpoint(tmp_path), "-o", tmp_path / "out")
    assert "empty" in line
    assert name in line


def test_missing_pairs_file(error, tmp_path: Path) -> None:
    line = error(
        "train", tmp_path / "no.jsonl", "--model", make_tiny_checkpoint(tmp_path), "-o", tmp_path / "o"
    )
    assert "no.jsonl" in line


def test_unknown_loss(error, tmp_path: Path) -> None:
    line = error("train", "pairs.jsonl", "--model", "m", "-o", tmp_path / "out", "--loss", "magic")
    assert "loss is 'magic', expected one of infonce, gist" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--lr", "0"], "learning_rate is 0.0"), (["--scale", "-1"], "scale"), (["--max-length", "65"], "64")],
)
def test_training_options_out_of_range(error, tmp_path: Path, options: list[str], message: str) -> None:
    (tmp_path / "pairs.jsonl").write_text(
        '{"anchor": "a", "positive": "b"}\n{"anchor": "c", "positive": "d"}\n'
    )
    model = make_tiny_checkpoint(tmp_path)
    line = error("train", tmp_path / "pairs.jsonl", "--model", model, "-o", tmp_path / "out", *options)
    assert message in line


def test_output_that_is_something_else(error, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("keep me")
    assert "not a checkpoint" in error("train", "pairs.jsonl", "--model", "m", "-o", tmp_path)
    assert "not a bundle" in error("export", make_tiny_checkpoint(tmp_path / "c"), tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "keep me"


def test_missing_model(error, tmp_path: Path) -> None:
    assert "no such checkpoint" in error("export", tmp_path / "nowhere", tmp_path / "bundle")


@pytest.mark.parametrize(("option", "value"), [("--precision", "int3"), ("--exporter", "magic")])
def test_export_options_that_are_not_there(error, tmp_path: Path, option: str, value: str) -> None:
    assert value in error("export", "checkpoint", tmp_path / "bundle", option, value)


def test_server_that_is_not_there(error, bundle: Path, corpus: Path) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    line = error("index", bundle, corpus, "--index", "x", "--url", url)
    assert url in line
    assert "cl-haystack opensearch start" in line
    assert url in error("query", bundle, "cat", "--index", "x", "--url", url)


def test_evaluation_split_that_is_not_there(error, bundle: Path, tmp_path: Path, corpus: Path) -> None:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t1\t1\n")
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "cat"}) + "\n")
    (tmp_path / "corpus.jsonl").write_text(corpus.read_text())
    assert "test" in error("evaluate", bundle, tmp_path, "--split", "dev")


def test_unknown_device(error, bundle: Path, corpus: Path) -> None:
    assert "cpu, cuda" in error("index", bundle, corpus, "--index", "x", "--device", "tpu")


def test_demo_on_a_corpus_without_titles(error, tmp_path: Path, corpus: Path) -> None:
    assert "at least 20" in error("demo", "--docs", corpus, "--out", tmp_path / "demo")


def test_inspect_prints_what_a_bundle_is(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["cl-haystack", "inspect", str(bundle), "--json"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["embedding"]["dimension"] == 16
    assert manifest["parity"]["cosine_min"] > 0.9999
