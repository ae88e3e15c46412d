"""The quality table of the README: our trainer beside sentence-transformers, seed by seed, with intervals.

    python benchmarks/quality.py DATA                     # train and measure what is missing, write the table
    python benchmarks/quality.py DATA --list              # what there is, and what is missing
    python benchmarks/quality.py DATA --only 'stsb-*'     # some cells; the others stay as they are
    python benchmarks/quality.py DATA --data-sets scifact-few --config try.yaml --out tries  # a recipe

DATA holds ``scifact``, ``banking77`` and ``stsb`` (see quality_data); ``python-docs`` needs no data. A cell
is one data set, one side (see quality_training), one number of training pairs and one seed; its values by
query or pair are a file in ``--out``, written when the cell is done. A run that was killed goes on with the
cell that it was at. The table goes into the README only from the results that are kept in the repository,
the default of ``--out``.

SciFact is asked in three ways: all test claims; those whose documents no training pair names; and, as
``scifact-clean``, trained without the claims that are near-duplicates of a test claim. ``control`` is a
collection that has nothing to do with the training data: what falls there was forgotten.
"""

import argparse
import fnmatch
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import quality_data
import quality_table
import quality_training
import torch
from quality_data import Dataset

from cl_haystack.data import write_beside
from cl_haystack.training import SentenceEncoder
from cl_haystack.training.device import autocast

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "benchmarks" / "results" / "quality"


@dataclass(frozen=True)
class Cell:
    """One model to train and measure; the base model is a cell without pairs, side and seed."""

    dataset: str
    side: str
    size: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its file, without the ending."""
        if self.side == "base":
            return f"{self.dataset}-base"
        return f"{self.dataset}-{self.side}-{self.size}-seed{self.seed}"


def main() -> None:
    """Run what is missing, then write the table."""
    options = _parse()
    work = Path(tempfile.gettempdir()) / "cl-haystack-quality"
    work.mkdir(exist_ok=True)
    datasets = {name: quality_data.load(name, options.data, work) for name in options.data_sets}
    cells = [cell for dataset in datasets.values() for cell in cells_of(dataset, options.seeds)]
    missing = [
        cell
        for cell in cells
        if not _file(options.out, cell).is_file() and fnmatch.fnmatch(cell.name, options.only)
    ]
    if options.list:
        for cell in cells:
            print(f"{'      ' if _file(options.out, cell).is_file() else 'missing'} {cell.name}")
        return
    for number, cell in enumerate(missing, start=1):
        print(f"{number}/{len(missing)} {cell.name}: ", end="", flush=True)
        print(f"{run_cell(cell, datasets[cell.dataset], options):.0f} s", flush=True)
    table = quality_table.render(options.out)
    print(table)
    if options.out == RESULTS:
        quality_table.replace(REPOSITORY / "README.md", table)


def cells_of(dataset: Dataset, seeds: Sequence[int]) -> list[Cell]:
    """Return the cells of a data set, in the order in which they are run: one seed of all, then the next."""
    trained = [
        Cell(dataset.name, side, size, seed)
        for seed in seeds
        for size in dataset.sizes
        for side in dataset.sides
        if size or side == "documents"
    ]
    return [Cell(dataset.name, "base", 0, 0), *trained]


def run_cell(cell: Cell, dataset: Dataset, options: argparse.Namespace) -> float:
    """Train and measure one cell, and keep its values."""
    started = time.perf_counter()
    if cell.side == "base":
        encoder = SentenceEncoder.load(quality_training.MODEL, device=options.device)
    else:
        encoder = quality_training.train(
            cell.side, dataset, cell.size, cell.seed, device=options.device, config=options.config
        )
    trained = time.perf_counter()
    with autocast(options.device, "auto"):
        values = dataset.evaluate(encoder)
    record = asdict(cell) | {
        "train_s": round(trained - started, 1),
        "evaluate_s": round(time.perf_counter() - trained, 1),
        "device": options.device,
        "values": values,
    }
    if cell.side == "base":
        record |= dataset.what_is_asked()
    with write_beside(_file(options.out, cell)) as file:
        file.write(orjson.dumps(record) + b"\n")
    return time.perf_counter() - started


def _file(out: Path, cell: Cell) -> Path:
    return out / f"{cell.name}.json"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with scifact, banking77, stsb")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--only", default="*", help="names of cells, with * for anything")
    parser.add_argument("--list", action="store_true", help="say what there is, and stop")
    parser.add_argument(
        "--data-sets", nargs="+", choices=quality_data.LOADERS, default=quality_data.PUBLISHED, metavar="NAME"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument(
        "--config", type=Path, help="options of TrainingConfig to try; give another --out with it"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


if __name__ == "__main__":
    main()
