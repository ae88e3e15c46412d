"""What ``cl-haystack evaluate`` evaluates on a retrieval task: models, and run files of any system."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cl_haystack.cli.console import progress_bar
from cl_haystack.cli.models import is_run_file, open_model, told_apart

if TYPE_CHECKING:
    from cl_haystack.data import RetrievalTask
    from cl_haystack.encoder import TextEncoder
    from cl_haystack.evaluation import RetrievalResult, Run


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What was named on the command line: a model, or a run file, which has no encoder."""

    label: str
    encoder: "TextEncoder | None" = None
    run: "Run" = field(default_factory=dict)
    oddities: tuple[str, ...] = ()


@dataclass(frozen=True)
class System:
    """What was evaluated."""

    result: "RetrievalResult"
    encoder: "TextEncoder | None"


def open_systems(names: Sequence[str]) -> list[Opened]:
    """Open models and run files, and give each a label of its own."""
    opened = [open_system(name) for name in names]
    labels = told_apart([system.label for system in opened], names)
    return [replace(system, label=label) for system, label in zip(opened, labels, strict=True)]


def open_system(name: str) -> Opened:
    """Open a model, or read a run; lines of it that cannot be used are left out, counted and named."""
    from cl_haystack.data.beir import odd_lines
    from cl_haystack.data.lines import Faults
    from cl_haystack.evaluation.runs import read_run

    if is_run_file(name):
        faults = Faults()
        run, label = read_run(name, faults)
        bad = odd_lines("lines are none of a run, or name a document again, and are left out", faults)
        return Opened(label=label, run=run, oddities=tuple(map(str, bad)))
    encoder, label = open_model(name)
    return Opened(label=label, encoder=encoder)


def evaluate_system(task: "RetrievalTask", opened: Opened, top_k: int) -> System:
    """Search exactly with a model, or take what a run has found."""
    from cl_haystack.evaluation import evaluate_given_run, evaluate_retrieval

    label, encoder = opened.label, opened.encoder
    if encoder is None:
        result = evaluate_given_run(task, opened.run, label=label, top_k=top_k)
        return System(result.model_copy(update={"oddities": opened.oddities + result.oddities}), None)
    with progress_bar(f"evaluating {label}") as on_progress:
        result = evaluate_retrieval(task, encoder, label=label, top_k=top_k, on_progress=on_progress)
    return System(result, encoder)


def evaluate_seeds(task: "RetrievalTask", seeds: Sequence[Opened], top_k: int) -> System:
    """Evaluate one system, or the mean of several seeds, of which the first gives the encoder."""
    from cl_haystack.evaluation.seeds import mean_over_seeds

    found = [evaluate_system(task, opened, top_k) for opened in seeds]
    return System(mean_over_seeds([system.result for system in found]), found[0].encoder)
