"""``cl-haystack evaluate`` of judged pairs: metrics, thresholds, report."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from cl_haystack.cli.console import err, out, print_json, progress_bar
from cl_haystack.cli.evaluate_output import circumstances, comparisons_json, intervals_json, print_figures
from cl_haystack.cli.models import describe_model, open_model, told_apart, training_of

if TYPE_CHECKING:
    from cl_haystack.bundle.manifest import Threshold
    from cl_haystack.encoder import TextEncoder
    from cl_haystack.errors import CLHaystackError
    from cl_haystack.evaluation.pair_report import PairStudy
    from cl_haystack.evaluation.pair_tasks import PairResult, PairTask


def run(
    model: str, path: Path, *, baseline: str | None, calibrate: list[str], report: Path | None, as_json: bool
) -> None:
    """Evaluate, calibrate, tell."""
    from cl_haystack.bundle.calibration import check_writable, write_thresholds
    from cl_haystack.evaluation.drawing import require_matplotlib
    from cl_haystack.evaluation.pair_report import pair_report, study_pairs
    from cl_haystack.evaluation.pair_tasks import read_pair_task
    from cl_haystack.evaluation.report import write_report
    from cl_haystack.evaluation.significance import require_scipy
    from cl_haystack.evaluation.thresholds import check_calibration

    wanted = dict(map(_wanted, calibrate))
    require_scipy()  # say what is missing before minutes of work, not after
    if wanted:
        check_writable(model)
    if report is not None:
        require_matplotlib()
    task = read_pair_task(path)
    for precision in wanted.values():
        check_calibration(task, precision)
    models = {"model": model} | ({"baseline": baseline} if baseline else {})
    encoders = _open_all([*reversed(models.values())])
    study = study_pairs(task, [_evaluate(task, encoder, label) for label, encoder in encoders.items()])
    thresholds, failure = _choose(study, wanted)
    if thresholds:
        write_thresholds(model, thresholds)
    if report is not None:
        told = {label: training_of(encoder) for label, encoder in encoders.items()}
        study = replace(
            study,
            threshold=next((found.score for found in thresholds.values()), None),
            datasheet={label: facts for label, facts in told.items() if facts},
            provenance={name: describe_model(value) for name, value in models.items()} | circumstances(path),
        )
        write_report(report, pair_report(study))
    if as_json:
        print_json(_as_json(study, thresholds))
    else:
        _print(study, thresholds, model)
    if report is not None and not as_json:
        err.print(f"report: {report}")
    if failure is not None:
        raise failure


def _open_all(names: list[str]) -> "dict[str, TextEncoder]":
    """Open models, so that a name that is none is told before the work; each has a label of its own."""
    opened = [open_model(name) for name in names]
    labels = told_apart([label for _, label in opened], names)
    return {label: encoder for label, (encoder, _) in zip(labels, opened, strict=True)}


def _evaluate(task: "PairTask", encoder: "TextEncoder", label: str) -> "PairResult":
    from cl_haystack.evaluation.pair_tasks import evaluate_pairs

    with progress_bar(f"scoring with {label}") as on_progress:
        return evaluate_pairs(task, encoder, label=label, on_progress=on_progress)


def _wanted(text: str) -> tuple[str, float]:
    name, equals, precision = text.partition("=")
    try:
        if name and equals:
            return name, float(precision)
    except ValueError:
        pass
    problem = f"found {text!r}; expected NAME=PRECISION, such as duplicate=0.95"
    raise typer.BadParameter(problem, param_hint="--calibrate")


def _choose(
    study: "PairStudy", wanted: dict[str, float]
) -> "tuple[dict[str, Threshold], CLHaystackError | None]":
    """Choose all thresholds, or none and say why: the figures are worth telling without them."""
    from cl_haystack.errors import DataError
    from cl_haystack.evaluation.thresholds import choose_threshold

    result = study.results[-1]
    try:
        return {
            name: choose_threshold(study.task, result, precision=value) for name, value in wanted.items()
        }, None
    except DataError as error:
        return {}, error


def _print(study: "PairStudy", thresholds: "dict[str, Threshold]", model: str) -> None:
    task = study.task
    out.print(f"{escape(task.name)}: {len(task.anchors):,} judged pairs")
    print_figures(study.rows, study.comparisons, task.metrics, [str(oddity) for oddity in task.oddities])
    for result in study.results:
        if result.f1_threshold is not None:
            out.print(f"F1 of {escape(result.label)} is best from similarity {result.f1_threshold:.4f} on")
    for name, found in thresholds.items():
        low, high = found.precision_ci95
        out.print(
            f"threshold [bold]{escape(name)}[/bold]: similarity {found.score:.4f}, precision "
            f"{found.precision:.3f} [dim]{low:.3f}..{high:.3f}[/dim], recall {found.recall:.3f}; "
            f"written into {escape(model)}"
        )


def _as_json(study: "PairStudy", thresholds: "dict[str, Threshold]") -> dict[str, Any]:
    *before, result = study.results

    def facts(found: "PairResult") -> dict[str, Any]:
        return {"system": found.label} | found.model_dump(exclude={"label", "scores"})

    shown = facts(result) | {
        "intervals": intervals_json(study.rows[-1]),
        "oddities": [asdict(oddity) for oddity in study.task.oddities],
    }
    if before:
        shown |= {"baseline": facts(before[0]), "comparisons": comparisons_json(study.comparisons)}
    if thresholds:
        shown["thresholds"] = {name: found.model_dump() for name, found in thresholds.items()}
    return shown
