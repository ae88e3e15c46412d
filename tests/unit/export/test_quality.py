"""Quality of an export on judged questions, into the manifest, the model card and the command's answer."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cl_haystack.bundle import ModelBundle
from cl_haystack.cli.main import app
from cl_haystack.data import read_beir
from cl_haystack.evaluation import evaluate_retrieval
from cl_haystack.export import export_bundle
from cl_haystack.training import SentenceEncoder
from tests.tiny_model import WORDS, make_tiny_checkpoint


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """Twelve documents of two words each, and six questions of one, each with two answers."""
    folder = tmp_path / "words"
    (folder / "qrels").mkdir(parents=True)
    documents = [f"{WORDS[i]} {WORDS[(i + 1) % 12]}" for i in range(12)]
    lines = [json.dumps({"_id": f"d{i}", "title": "", "text": text}) for i, text in enumerate(documents)]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    queries = [json.dumps({"_id": f"q{i}", "text": WORDS[i]}) for i in range(6)]
    (folder / "queries.jsonl").write_text("\n".join(queries))
    judged = [f"q{i}\td{(i + shift) % 12}\t1" for i in range(6) for shift in (0, 11)]
    (folder / "qrels" / "dev.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]))
    return folder


def test_quality_is_measured_with_an_interval_and_the_torch_models_value(tmp_path: Path, task: Path) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path)
    bundle = export_bundle(checkpoint, tmp_path / "bundle", evaluate=task, split="dev")
    (figure,) = bundle.manifest.quality
    expected = evaluate_retrieval(read_beir(task, "dev"), SentenceEncoder.load(checkpoint)).metrics["ndcg@10"]
    assert (figure.dataset, figure.metric) == ("words/dev", "ndcg@10")
    assert figure.value == pytest.approx(expected, abs=1e-6)
    assert figure.before == pytest.approx(expected, abs=1e-6)
    assert figure.ci95 is not None
    assert figure.ci95[0] < figure.value < figure.ci95[1]
    card = (bundle.path / "README.md").read_text()
    assert f"| ndcg@10 on words/dev | {figure.value:.4f} [" in card
    assert "| cosine to the torch model, lowest | 1.000000 |" in card


def test_command(tmp_path: Path, task: Path) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path)
    arguments = ["export", str(checkpoint), str(tmp_path / "bundle"), "--precision", "int8-block"]
    arguments += ["--exporter", "torch", "--min-cosine", "0.9", "--evaluate", str(task), "--split", "dev"]
    answer = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    manifest = ModelBundle.load(tmp_path / "bundle").manifest
    assert answer.exit_code == 0
    assert json.loads(answer.stdout)["fingerprint"] == manifest.fingerprint
    assert manifest.numerics.precision == "int8-block"
    told = CliRunner().invoke(app, arguments, catch_exceptions=False)
    said = " ".join(told.stderr.split())  # lines end where the path's length lets them
    assert "cosine to torch" in said
    assert "ndcg@10 on words/dev" in said
