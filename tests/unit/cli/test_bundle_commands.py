"""``inspect`` and ``bundle``: what a person sees of a bundle, however its manifest looks."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from rich.console import Console

from cl_haystack.bundle import ModelBundle
from cl_haystack.cli.main import main
from cl_haystack.cli.models import describe_model, told_apart
from cl_haystack.export import export_bundle
from cl_haystack.training.checkpoint import TRAINING_FILE
from tests.fake_hub import REPOSITORY, FakeHub
from tests.tiny_bundle import make_tiny_bundle, write_manifest
from tests.tiny_model import make_tiny_checkpoint

Run = Callable[..., str]
TRAINING = {
    "base_model": {"name": "base", "weights": "f" * 64},
    "loss": {"name": "infonce", "scale": 20.0, "hardness": None, "directions": ["query_to_doc"]},
    "datasets": [
        {
            "path": "x" * 200,
            "sha256": "a" * 64,
            "bytes": 4_876_090,
            "licence": "CC-BY-4.0",
            "num_pairs": 9000,
        },
        {"name": "corpus", "num_pairs": 3},
    ],
    "steps": 32,
}
QUALITY = [
    {"dataset": "scifact/test", "metric": "ndcg@10", "value": 0.67, "ci95": [0.63, 0.71], "before": 0.65},
    {"dataset": "other", "metric": "mrr@10", "value": 0.5},
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "cache")
    return make_tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*arguments: object, width: int = 80) -> str:
        monkeypatch.setattr("cl_haystack.cli.inspect.out", Console(width=width, highlight=False))
        monkeypatch.setattr(sys, "argv", ["cl-haystack", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        output = capsys.readouterr()
        assert caught.value.code == 0, output.err
        return output.out

    return run


@pytest.mark.parametrize("width", [80, 120])
def test_inspect_lines_up(folder: Path, run: Run, width: int) -> None:
    write_manifest(folder, training=TRAINING, quality=QUALITY, producer={"tool": "1.0"})
    lines = [line.rstrip() for line in run("inspect", folder, width=width).splitlines()]
    titles = [line for line in lines if not line.startswith(" ")]
    assert titles == ["identity", "whose notion of similarity this is", "proof", "files"]
    rows = [line for line in lines if line not in titles]
    column = len("  parity with torch  ")
    assert all(line[column - 2 : column] == "  " and line[column:] for line in rows)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(line[column:] for line in rows).split())
    for expected in (
        "base, weights ffffffffffffffff",
        "infonce (scale 20.0, directions query_to_doc)",
        "9,000 pairs, 4,876,090 bytes, sha256 aaaaaaaaaaaaaaaa, licence CC-BY-4.0",
        "corpus: 3 pairs, no file, licence not stated",
        "ndcg@10 0.6700 [0.6300, 0.7100]; before 0.6500, change +0.0200",
        "other: mrr@10 0.5000",
        "tool 1.0",
    ):
        assert expected in text


def test_inspect_tells_what_was_calibrated_and_what_is_promised(folder: Path, run: Run) -> None:
    threshold = {
        "score": 0.81,
        "wanted_precision": 0.95,
        "precision": 0.97,
        "precision_ci95": [0.951, 0.985],
        "recall": 0.6,
        "pairs": 1200,
        "positives": 400,
        "dataset": "pairs.jsonl",
        "sha256": "a" * 64,
    }
    calibration = {"int8_scale": 312.5, "thresholds": {"duplicate": threshold, "related": threshold}}
    write_manifest(folder, calibration=calibration)
    shown = " ".join(run("inspect", folder, width=200).split())
    assert "int8 scale 312.5" in shown
    for name in ("duplicate", "related"):
        assert (
            f"- {name}: score ≥ 0.8100, precision 0.970 [0.951, 0.985] for 0.950 wanted, recall 0.600"
            in shown
        )
    assert "fp32 (as trained); a text's vector may depend on its batch" in shown
    numerics = {"precision": "fp32", "scheme": "as trained", "batch_invariant": True}
    write_manifest(folder, numerics=numerics)
    assert "a text's vector does not depend on its batch" in " ".join(run("inspect", folder).split())


def test_inspect_of_a_bundle_that_says_little(folder: Path, run: Run) -> None:
    shown = run("inspect", folder)
    assert "the checkpoint was exported as it was" in shown
    assert shown.count("not measured") == 2


def test_inspect_shows_a_strangers_words_as_they_are(folder: Path, run: Run) -> None:
    hostile = {
        "base_model": "text",
        "loss": [1],
        "datasets": [3, {"path": "[/b]\x1b[2J\u202e", "bytes": "x"}],
    }
    write_manifest(folder, name="[red]tiny[/]", training=hostile)
    shown = run("inspect", folder)
    assert "[red]tiny[/]" in shown
    assert r"[/b]\x1b[2J\u202e" in shown
    assert not set("\x1b\u202e") & set(shown)


def test_inspect_of_a_packed_bundle_as_json(folder: Path, run: Run, tmp_path: Path) -> None:
    run("bundle", "pack", folder, tmp_path / "tiny.zip")
    assert run("inspect", tmp_path / "tiny.zip", "--json") == run("inspect", folder, "--json")
    assert json.loads(run("inspect", folder, "--json"))["name"] == "tiny"


def test_pack_and_unpack(folder: Path, run: Run, tmp_path: Path) -> None:
    run("bundle", "pack", folder, tmp_path / "tiny.zip")
    run("bundle", "unpack", tmp_path / "tiny.zip", tmp_path / "copy")
    assert ModelBundle.load(tmp_path / "copy").manifest == ModelBundle.load(folder).manifest


def test_push_prints_the_commit_that_pull_takes(
    folder: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeHub().running() as hub:
        monkeypatch.setattr("cl_haystack.bundle.hub._client", lambda token: HfApi(hub.url, token=token))
        commit = run("bundle", "push", folder, REPOSITORY).strip()
        run("bundle", "pull", REPOSITORY, tmp_path / "pulled", "--revision", commit)
    assert ModelBundle.load(tmp_path / "pulled").manifest == ModelBundle.load(folder).manifest


@pytest.mark.parametrize("verb", ["pack", "unpack", "push", "pull"])
def test_help_gives_an_example(run: Run, verb: str) -> None:
    assert f"cl-haystack bundle {verb} " in " ".join(run("bundle", verb, "--help").split())


def test_a_packed_bundle_is_told_from_a_checkpoint(folder: Path, tmp_path: Path) -> None:
    packed = ModelBundle.load(folder).pack(tmp_path / "tiny.zip")
    assert ModelBundle.load(folder).space_id in describe_model(str(packed))
    assert describe_model(str(folder / "model.onnx")) == str(folder / "model.onnx")


def test_why_names_the_nearest_pairs_and_whether_the_model_was_trained_on_them(
    tmp_path: Path, run: Run
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    lines = [{"positive": "red"}, {"positive": "green", "label": 0}, {"positive": "blue", "score": 0.0}]
    pairs.write_text("\n".join(json.dumps({"anchor": "apple", **line}) for line in lines))
    checkpoint = make_tiny_checkpoint(tmp_path)
    for trained_on, known in ((pairs.read_bytes(), True), (b"others", False)):
        training = {"datasets": [{"name": "pairs", "sha256": hashlib.sha256(trained_on).hexdigest()}]}
        (checkpoint / TRAINING_FILE).write_text(json.dumps(training))
        bundle = export_bundle(checkpoint, tmp_path / f"bundle-{known}").path
        said = json.loads(run("inspect", bundle, "--why", "apple", "red", "--pairs", pairs, "--json"))
        assert [pair["positive"] for pair in said["pairs"]] == ["red"]
        assert said["trained_on_them"] is known


@pytest.mark.parametrize(
    ("labels", "models", "expected"),
    [
        (["a", "b"], ["x/a", "x/b"], ["a", "b"]),
        (["a", "a", "b"], ["x/a", "y/a", "b"], ["x/a", "y/a", "b"]),
        (["run", "run"], ["one.trec", "two.trec"], ["run from one.trec", "run from two.trec"]),
        (["a (fp32)", "a (fp32)"], ["x/a", "x/a"], ["a (fp32) from x/a (1)", "a (fp32) from x/a (2)"]),
    ],
)
def test_models_of_one_name_are_told_apart(labels: list[str], models: list[str], expected: list[str]) -> None:
    assert told_apart(labels, models) == expected
