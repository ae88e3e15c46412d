"""``cl-haystack evaluate`` of retrieval: metrics, comparisons, report."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from cl_haystack.cli.console import err, out, print_json, progress_bar
from cl_haystack.cli.evaluate_output import circumstances, comparisons_json, intervals_json, print_figures
from cl_haystack.cli.models import (
    describe_model,
    graph_bytes,
    is_run_file,
    open_index,
    open_model,
    training_of,
)
from cl_haystack.cli.query import Mode
from cl_haystack.cli.search_options import parse_filters

if TYPE_CHECKING:
    from cl_haystack.data import RetrievalTask
    from cl_haystack.encoder import TextEncoder
    from cl_haystack.evaluation import RetrievalResult
    from cl_haystack.evaluation.parts import ComparisonRow, CurvePoint, Variant
    from cl_haystack.evaluation.retrieval_report import RetrievalStudy
    from cl_haystack.evaluation.views import View

_SHOWN = ("ndcg@10", "recall@10", "recall@100", "mrr@10")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for on the command line."""

    model: str
    directory: Path
    split: str
    index: str | None
    mode: Mode
    filters: str | None
    url: str | None
    baseline: str | None
    trained_on: Path | None
    control: Path | None
    variants: tuple[str, ...]
    curve: tuple[str, ...]
    report: Path | None
    save_run: Path | None
    mteb: Path | None
    top_k: int
    as_json: bool


@dataclass(frozen=True)
class Others:
    """What is compared beside the task itself; read before the work, which takes minutes.

    :param views: parts of its queries, by what the training pairs give away.
    :param control: a task of another domain.
    :param notes: what the training pairs give away, and what of them cannot be read.
    """

    views: "Sequence[View]" = ()
    control: "RetrievalTask | None" = None
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class System:
    """What was evaluated: a model, or a run file, which has no encoder."""

    result: "RetrievalResult"
    encoder: "TextEncoder | None"


def run(request: Request) -> None:
    """Evaluate, compare, tell."""
    from cl_haystack.data import read_beir
    from cl_haystack.evaluation.drawing import require_matplotlib
    from cl_haystack.evaluation.exchange import write_mteb
    from cl_haystack.evaluation.report import write_report
    from cl_haystack.evaluation.retrieval_report import retrieval_report
    from cl_haystack.evaluation.runs import write_run
    from cl_haystack.evaluation.significance import require_scipy

    if request.baseline or request.report:  # say what is missing before minutes of work, not after
        require_scipy()
    if request.report:
        require_matplotlib()
    curve_runs = [_curve_point(text) for text in request.curve]
    task = read_beir(request.directory, request.split)
    others = _others(request, task)
    curve = _curve(task, curve_runs, request.top_k)
    before = [_evaluate(task, request.baseline, request.top_k)] if request.baseline else []
    system = (
        _evaluate_on_index(task, request) if request.index else _evaluate(task, request.model, request.top_k)
    )
    if request.save_run:
        write_run(request.save_run, system.result.run, label=system.result.label)
    if request.mteb:
        write_mteb(request.mteb, task, system.result)
    study = _study(request, task, [*before, system], others, curve)
    if request.report:
        write_report(request.report, retrieval_report(study))
    if request.as_json:
        print_json(_as_json(study))
        return
    out.print(f"{escape(task.name)}: {len(task.queries):,} queries, {task.num_documents:,} documents")
    print_figures(study.rows, study.comparisons, _SHOWN, study.oddities)
    if request.report:
        err.print(f"report: {request.report}")


def _evaluate(task: "RetrievalTask", model: str, top_k: int) -> System:
    from cl_haystack.evaluation import evaluate_retrieval
    from cl_haystack.evaluation.retrieval import evaluate_given_run
    from cl_haystack.evaluation.runs import read_run

    if is_run_file(model):
        found, label = read_run(model)
        return System(evaluate_given_run(task, found, label=label, top_k=top_k), None)
    encoder, label = open_model(model)
    with progress_bar(f"evaluating {label}") as on_progress:
        result = evaluate_retrieval(task, encoder, label=label, top_k=top_k, on_progress=on_progress)
    return System(result, encoder)


def _evaluate_on_index(task: "RetrievalTask", request: Request) -> System:
    from cl_haystack.evaluation import evaluate_search
    from cl_haystack.evaluation.live import index_search

    name = str(request.index)
    filters = parse_filters([request.filters] if request.filters else [])
    encoder, _ = open_model(request.model)
    with open_index(name, request.url, encoder, request.model) as target:
        found = target.count()
        if found != task.num_documents:
            err.print(f"warning: index {name} holds {found:,} documents, the corpus {task.num_documents:,}")
        label = f"{request.mode} in index {name}" + (" with filters" if filters else "")
        search = index_search(target, encoder, request.mode.value, filters=filters)
        with progress_bar(f"asking index {name}") as on_progress:
            result = evaluate_search(task, search, label=label, top_k=request.top_k, on_progress=on_progress)
    return System(result, encoder)


def _curve_point(text: str) -> tuple[int, str]:
    num_pairs, equals, path = text.partition("=")
    if not (equals and num_pairs.isdecimal() and path):
        problem = f"found {text!r}; expected PAIRS=RUN, such as 300=run-300.trec"
        raise typer.BadParameter(problem, param_hint="--curve")
    return int(num_pairs), path


def _others(request: Request, task: "RetrievalTask") -> Others:
    from cl_haystack.data import find_overlap, read_beir
    from cl_haystack.data.beir import odd_lines
    from cl_haystack.data.lines import Faults
    from cl_haystack.data.reading import read_numbered_pairs
    from cl_haystack.evaluation.views import training_views

    views: Sequence[View] = ()
    notes: list[str] = []
    if request.trained_on:
        faults = Faults()
        overlap = find_overlap((pair for _, pair in read_numbered_pairs(request.trained_on, faults)), task)
        views = training_views(task, overlap)
        bad = odd_lines(f"lines of {request.trained_on.name} are no pair and are left out", faults)
        notes = [overlap.describe(), *map(str, bad)]
    control = read_beir(request.control, request.split) if request.control else None
    return Others(views, control, notes)


def _study(
    request: Request,
    task: "RetrievalTask",
    systems: Sequence[System],
    others: Others,
    curve: "Sequence[CurvePoint]",
) -> "RetrievalStudy":
    from cl_haystack.evaluation.retrieval_report import RetrievalStudy
    from cl_haystack.evaluation.rows import system_row

    *before, system = systems
    intervals = system.result.num_queries > 1 and find_spec("scipy") is not None
    rows = [
        system_row(s.result, _SHOWN, intervals=intervals, highlight=s is system and bool(before))
        for s in systems
    ]
    study: dict[str, Any] = {"task": task, "results": [s.result for s in systems], "rows": rows}
    if before:
        study["comparisons"], untold = _comparisons(request, others, system, before[0])
        study["notes"] = [*others.notes, *untold]
    if request.report:
        study |= _for_the_report(request, task, systems, curve)
    return RetrievalStudy(**study)


def _comparisons(
    request: Request, others: Others, system: System, before: System
) -> "tuple[list[ComparisonRow], list[str]]":
    """Compare on all queries, then on their parts; and say of which parts nothing can be told."""
    from cl_haystack.evaluation.rows import comparison_row

    rows, untold = [comparison_row(system.result, before.result)], []
    for view in others.views:
        if len(view.queries) > 1:
            rows.append(comparison_row(system.result, before.result, queries=view.queries, on=view.name))
        else:
            untold.append(f"{view.name}: {len(view.queries)} queries, too few to compare")
    if (control := others.control) is not None:
        one, two = (_evaluate(control, str(m), request.top_k) for m in (request.model, request.baseline))
        rows.append(comparison_row(one.result, two.result, on=f"control: {control.name}"))
    return rows, untold


def _for_the_report(
    request: Request, task: "RetrievalTask", systems: Sequence[System], curve: "Sequence[CurvePoint]"
) -> dict[str, Any]:
    from cl_haystack.evaluation.sample import draw_sample, encode_sample

    sample = draw_sample(task, [s.result for s in systems])
    vectors = []
    for system in systems:
        if system.encoder is not None:
            with progress_bar(f"drawing {system.result.label}") as on_progress:
                label = system.result.label
                vectors.append(encode_sample(sample, system.encoder, label, on_progress=on_progress))
    models = {"model": request.model} | ({"baseline": request.baseline} if request.baseline else {})
    trained = {s.result.label: training_of(s.encoder) for s in systems}
    return {
        "sample": sample,
        "vectors": vectors,
        "variants": _variants(request, task, systems[-1]),
        "curve": curve,
        "datasheet": {label: facts for label, facts in trained.items() if facts},
        "provenance": {name: describe_model(value) for name, value in models.items()}
        | circumstances(request.directory),
    }


def _variants(request: Request, task: "RetrievalTask", system: System) -> "list[Variant]":
    from cl_haystack.evaluation.rows import PRIMARY_METRIC
    from cl_haystack.evaluation.variants import measure_variant

    others = [_evaluate(task, name, request.top_k) for name in request.variants]
    return [
        measure_variant(task, s.result, s.encoder, metric=PRIMARY_METRIC, num_bytes=graph_bytes(s.encoder))
        for s in ([system, *others] if others else [])
        if s.encoder is not None
    ]


def _curve(task: "RetrievalTask", curve: Sequence[tuple[int, str]], top_k: int) -> "list[CurvePoint]":
    from cl_haystack.evaluation.rows import PRIMARY_METRIC, learning_curve

    found = [(num_pairs, _evaluate(task, path, top_k).result) for num_pairs, path in curve]
    return learning_curve(found, PRIMARY_METRIC)


def _as_json(study: "RetrievalStudy") -> dict[str, Any]:
    *before, result = study.results
    shown = _facts(result) | {
        "intervals": intervals_json(study.rows[-1]),
        "oddities": [asdict(oddity) for oddity in study.task.oddities],
        "run_oddities": list(result.oddities),
        "notes": list(study.notes),
    }
    if before:
        comparisons = comparisons_json(study.comparisons)
        shown |= {"baseline": _facts(before[0]), "comparison": comparisons[0], "comparisons": comparisons}
    return shown


def _facts(result: "RetrievalResult") -> dict[str, Any]:
    return {"system": result.label} | result.model_dump(exclude={"label", "per_query", "run"})
