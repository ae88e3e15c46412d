"""The quality benchmark: its table says what its files say, and it goes on where it was."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[2]
RESULTS = REPOSITORY / "benchmarks" / "results" / "quality"
AGAIN = "write it anew: python benchmarks/quality.py DATA --only none"
DASH = "\N{EN DASH}"


@pytest.fixture(scope="module", autouse=True)
def importable():
    sys.path.insert(0, str(REPOSITORY / "benchmarks"))
    yield
    sys.path.remove(str(REPOSITORY / "benchmarks"))


def write(folder, name, record):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(record))


@pytest.fixture
def results(tmp_path):
    """Two seeds of one side and one of another on a task of 40 queries, 10 of them unseen."""
    queries = [f"q{i}" for i in range(40)]
    base = dict.fromkeys(queries, 0.5)
    views = {"all": queries, "unseen": queries[:10], "control": ["c0", "c1"]}
    control = {"c0": 0.3, "c1": 0.5}

    def record(side, size, seed, gain, **more):
        test = {query: 0.5 + gain * (i >= 10) for i, query in enumerate(queries)}
        values = {"test": test if size else base, "control": control}
        return {"dataset": "scifact", "side": side, "size": size, "seed": seed, "values": values, **more}

    folder = tmp_path / "results"
    write(folder, "base", record("base", 0, 0, 0, views=views))
    write(folder, "a", record("negatives", 100, 1, 0.2))
    write(folder, "b", record("negatives", 100, 2, 0.4))
    write(folder, "c", record("peer", 100, 1, 0.1))
    return folder


def cells(line):
    return [cell.strip().replace("\N{MINUS SIGN}", "-") for cell in line.strip("|").split("|")]


def readme_table():
    import quality_table

    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    return readme.partition(quality_table.BEGIN)[2].partition(quality_table.END)[0].strip()


def test_rows_of_retrieval_in_the_readme_are_those_of_the_results(tmp_path):
    import quality_table

    for file in RESULTS.glob("*.json"):
        if file.name.startswith(("scifact", "python-docs")):
            (tmp_path / file.name).symlink_to(file)
    made = quality_table.render(tmp_path).splitlines()
    assert len(made) > 5
    assert set(made) <= set(readme_table().splitlines()), f"a row is older than the results; {AGAIN}"


@pytest.mark.long  # an interval of an average precision takes seconds
def test_the_table_in_the_readme_is_that_of_the_results():
    import quality_table

    assert readme_table() == quality_table.render(RESULTS), f"it is older than the results; {AGAIN}"


def test_a_row_tells_means_gains_and_intervals_and_what_is_missing(results):
    import quality_table

    header, _, everything, unseen, control = quality_table.render(results).splitlines()
    assert cells(header)[-2:] == ["sentence-transformers", "ours against it"]
    found = cells(everything)
    assert found[:6] == ["SciFact, nDCG@10", "100 pairs", "1 to 2", "0.500", DASH, DASH]
    mean, _, gain = found[6].partition(", ")
    assert (mean, gain.split(" ")[0]) == ("0.725", "+22.5")  # 0.3 on 30 of 40 queries
    low, high = (float(value) for value in gain.split(" ", 1)[1].strip("[]").split(", "))
    assert 15 < low < 22.5 < high < 29
    assert found[9].startswith("+15.0 [+1")
    assert cells(unseen)[3:] == [
        "0.500",
        DASH,
        DASH,
        "0.500, 0.0 [0.0, 0.0]",
        DASH,
        "0.500, 0.0 [0.0, 0.0]",
        "0.0 [0.0, 0.0]",
    ]
    assert cells(control)[3] == "0.400"


def test_pairs_are_told_by_their_own_metric(tmp_path):
    import quality_table

    from cl_haystack.evaluation.pair_metrics import spearman

    rng = np.random.default_rng(0)
    truth = rng.random(80)
    one, other = (truth + noise * rng.random(80) for noise in (0.2, 1.0))

    def record(side, size, scores, **more):
        values = {"test": scores.tolist()}
        return {"dataset": "stsb", "side": side, "size": size, "seed": 1, "values": values, **more}

    write(tmp_path / "r", "base", record("base", 0, other, truth={"grades": truth.tolist()}))
    write(tmp_path / "r", "a", record("pairs", 300, one))
    found = cells(quality_table.render(tmp_path / "r").splitlines()[2])
    assert found[0] == "STS-B, CoSENT, Spearman"
    assert found[3] == f"{spearman(other, truth):.3f}"
    gain = 100 * (spearman(one, truth) - spearman(other, truth))
    assert found[5].startswith(f"{spearman(one, truth):.3f}, +{gain:.1f} [+")


def test_only_what_stands_between_the_marks_is_replaced(tmp_path):
    import quality_table

    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{quality_table.BEGIN}\nold\n{quality_table.END}\nafter\n")
    quality_table.replace(readme, "| new |")
    quality_table.replace(readme, "| newer |")
    assert readme.read_text() == f"before\n{quality_table.BEGIN}\n| newer |\n{quality_table.END}\nafter\n"
    readme.write_text("no marks")
    with pytest.raises(SystemExit, match="has no lines"):
        quality_table.replace(readme, "x")


def test_a_killed_run_goes_on_with_the_cell_that_it_was_at(data_dir, tmp_path, monkeypatch, capsys):
    """A fake stands for the training: what counts is which cells are run."""
    import quality

    done = []

    def train_until_killed(cell, dataset, options):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(cell.name)
        write(options.out, cell.name, {"dataset": cell.dataset, "side": cell.side, "size": cell.size})
        return 0.0

    monkeypatch.setattr(quality, "run_cell", train_until_killed)
    monkeypatch.setattr(quality.quality_table, "render", lambda folder: "table")
    command = ["quality.py", str(data_dir), "--out", str(tmp_path / "out"), "--data-sets", "stsb"]
    monkeypatch.setattr(sys, "argv", [*command, "--only", "*-300-*"])
    with pytest.raises(KeyboardInterrupt):
        quality.main()
    first = list(done)
    assert first == [
        "stsb-pairs-300-seed1",
        "stsb-peer-300-seed1",
        "stsb-pairs-300-seed2",
        "stsb-peer-300-seed2",
    ]
    done.clear()
    quality.main()
    assert done == ["stsb-pairs-300-seed3", "stsb-peer-300-seed3"]
    assert "2/2 stsb-peer-300-seed3" in capsys.readouterr().out


def test_few_shot_pairs_join_questions_of_one_intent(data_dir, tmp_path):
    import csv

    import quality_data

    dataset = quality_data.banking77(data_dir, tmp_path)
    with (data_dir / "banking77" / "train.csv").open(newline="") as file:
        intents = {row["text"]: row["category"] for row in csv.DictReader(file)}
    for size, shots in ((385, 5), (770, 10)):
        pairs = dataset.pairs(size)
        assert len(pairs) == size
        assert all(intents[pair.anchor] == intents[pair.positive] for pair in pairs)
        assert len({pair.anchor for pair in pairs}) == size == shots * 77
    assert dataset.task.labels.mean() == pytest.approx(0.2)
    assert not set(dataset.task.anchors) & {pair.anchor for pair in dataset.pairs(770)}
