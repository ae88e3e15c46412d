"""The sheet beside pairs: what it says, that it is about these pairs, and that it reaches the model card."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cl_haystack.bundle import Manifest
from cl_haystack.cli.main import app
from cl_haystack.data import Pair, write_pairs
from cl_haystack.data.datasheet import Step, carry_datasheet, describe_pairs, read_datasheet
from cl_haystack.errors import DataError

GOLDEN = Path(__file__).parent.parent.parent / "golden" / "bundle_manifest_v1.json"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write_pairs([Pair(anchor="a question", positive="an answer")], tmp_path / "pairs.jsonl")
    return tmp_path / "pairs.jsonl"


def test_a_sheet_belongs_to_its_pairs_alone(pairs):
    sheet = describe_pairs(pairs, method="by hand", num_pairs=1, counts={"pairs": 1})
    assert read_datasheet(pairs) == sheet
    write_pairs([Pair(anchor="another", positive="pair")], pairs)
    assert read_datasheet(pairs) is None


def test_a_sheet_follows_through_curation(pairs, tmp_path):
    describe_pairs(pairs, method="by hand", num_pairs=1, source="support tickets", judged_by="two agents")
    write_pairs([Pair(anchor="a question", positive="an answer!")], tmp_path / "clean.jsonl")
    sheet = carry_datasheet(pairs, tmp_path / "clean.jsonl", num_pairs=1, step=Step(name="check"))
    assert (sheet.method, sheet.source, sheet.judged_by) == ("by hand", "support tickets", "two agents")
    assert [step.name for step in sheet.curation] == ["check"]
    assert sheet.inputs[-1].name == "pairs.jsonl"
    assert read_datasheet(tmp_path / "clean.jsonl") == sheet


def test_a_broken_sheet_is_one_clear_error(pairs):
    describe_pairs(pairs, method="by hand", num_pairs=1)
    path = pairs.with_name("pairs.datasheet.json")
    path.write_text(path.read_text().replace('"num_pairs": 1', '"num_pairs": -1'))
    with pytest.raises(DataError, match=r"pairs.datasheet.json: num_pairs: .*correct or remove"):
        read_datasheet(pairs)


def test_the_sheet_reaches_provenance_and_model_card(pairs, tmp_path):
    from cl_haystack.export.model_card import write_model_card
    from cl_haystack.training.checkpoint import describe_dataset

    run(
        "pairs",
        "describe",
        pairs,
        "--source",
        "support | tickets",
        "--licence",
        "internal",
        "--judged-by",
        "us",
    )
    provenance = describe_dataset(pairs)
    assert provenance["licence"] == "internal"
    assert provenance["datasheet"]["judged_by"] == "us"
    manifest = json.loads(GOLDEN.read_text())
    training = {"datasets": [{"name": "pairs", **provenance}]}
    card = write_model_card(Manifest.model_validate(manifest | {"training": training, "checksum": None}))
    assert "| source | support \\| tickets |" in card
    assert "| judged by | us |" in card


def test_what_judgements_do_not_know_is_counted_and_named(tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "text": "yes"}\n{"_id": "d2", "text": "no"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "what"}\n{"_id": "q9", "text": "alone"}\n')
    rows = ["query-id\tcorpus-id\tscore", "q1\td1\t2", "q1\tgone\t1", "q1\td2\t0", "q7\td1\t1"]
    (tmp_path / "qrels" / "train.tsv").write_text("\n".join(rows))
    options = ("-o", tmp_path / "p.jsonl", "--num-negatives", "2", "--scores", "--json")
    told = json.loads(run("pairs", "from-qrels", tmp_path, *options))
    assert (told["pairs"], told["missing_documents"], told["not_relevant"]) == (1, 1, 1)
    assert [(oddity["count"], oddity["examples"]) for oddity in told["oddities"]] == [
        (1, ["gone"]), (1, ["q7"]), (1, ["q9"]),
    ]  # fmt: skip
    assert json.loads((tmp_path / "p.jsonl").read_text()) == {
        "anchor": "what", "positive": "yes", "negatives": ["no"], "score": 1.0,
        "source": f"{tmp_path.name}/train", "document_id": "d1",
    }  # fmt: skip
