"""``cl-haystack evaluate`` of retrieval: metrics, comparisons, report."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from cl_haystack.cli.console import err, out, print_json, progress_bar
from cl_haystack.cli.evaluate_output import circumstances, comparisons_json, intervals_json, print_figures
from cl_haystack.cli.evaluate_systems import (
    Opened,
    System,
    evaluate_seeds,
    evaluate_system,
    open_system,
    open_systems,
)
from cl_haystack.cli.models import describe_model, graph_bytes, is_run_file, open_index_of, training_of
from cl_haystack.cli.query import Mode
from cl_haystack.cli.search_options import parse_filters

if TYPE_CHECKING:
    from cl_haystack.data import RetrievalTask
    from cl_haystack.evaluation import RetrievalResult
    from cl_haystack.evaluation.parts import ComparisonRow, CurvePoint, Variant
    from cl_haystack.evaluation.retrieval_report import RetrievalStudy
    from cl_haystack.evaluation.views import View

_SHOWN = ("ndcg@10", "recall@10", "recall@100", "mrr@10")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for on the command line."""

    model: str
    other_seeds: tuple[str, ...]
    directory: Path
    split: str
    index: str | None
    mode: Mode
    filters: str | None
    url: str | None
    baselines: tuple[str, ...]
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


def run(request: Request) -> None:
    """Evaluate, compare, tell."""
    from cl_haystack.data import read_beir
    from cl_haystack.evaluation.exchange import write_mteb
    from cl_haystack.evaluation.report import write_report
    from cl_haystack.evaluation.retrieval_report import retrieval_report
    from cl_haystack.evaluation.runs import write_run

    _check(request)
    curve_runs = [_curve_point(text) for text in request.curve]
    task = read_beir(request.directory, request.split)
    others = _others(request, task)
    before, seeds, variants = _open_all(request)
    curve = _curve(task, curve_runs, request.top_k)
    systems = [evaluate_seeds(task, before, request.top_k)] if before else []
    systems += [
        _evaluate_on_index(task, request, seeds[0])
        if request.index
        else evaluate_seeds(task, seeds, request.top_k)
    ]
    result = systems[-1].result
    if request.save_run:
        write_run(request.save_run, result.run, label=result.label)
    if request.mteb:
        write_mteb(request.mteb, task, result)
    study = _study(request, task, systems, others, [before, seeds])
    if request.report:
        study = replace(study, curve=curve, **_for_the_report(request, task, systems, variants))
        write_report(request.report, retrieval_report(study))
    if request.as_json:
        print_json(_as_json(study))
        return
    out.print(f"{escape(task.name)}: {len(task.queries):,} queries, {task.num_documents:,} documents")
    print_figures(study.rows, study.comparisons, _SHOWN, study.oddities)
    if request.report:
        err.print(f"report: {request.report}")


def _check(request: Request) -> None:
    """Say what is missing or cannot be before minutes of work, not after."""
    from cl_haystack.evaluation.drawing import require_matplotlib
    from cl_haystack.evaluation.significance import require_scipy

    if request.baselines or request.report:
        require_scipy()
    if request.report:
        require_matplotlib()
    if request.control and any(map(is_run_file, [request.model, *request.other_seeds, *request.baselines])):
        problem = "asks the models once more, and a run file answers the queries of one task; give models"
        raise typer.BadParameter(problem, param_hint="--control")


def _open_all(request: Request) -> tuple[list[Opened], list[Opened], list[Opened]]:
    """Open baselines, seeds and variants, so that a name that is none is told before the work."""
    groups = (request.baselines, (request.model, *request.other_seeds), request.variants)
    opened = iter(open_systems([name for group in groups for name in group]))
    before, seeds, variants = ([next(opened) for _ in group] for group in groups)
    return before, seeds, variants


def _evaluate_on_index(task: "RetrievalTask", request: Request, model: Opened) -> System:
    from cl_haystack.errors import ConfigurationError
    from cl_haystack.evaluation import evaluate_search
    from cl_haystack.evaluation.live import index_search

    name, encoder = str(request.index), model.encoder
    if encoder is None:
        raise ConfigurationError(
            f"{request.model} is a run file, which cannot search an index; give a bundle"
        )
    filters = parse_filters([request.filters] if request.filters else [])
    with open_index_of(name, request.url, encoder, request.model) as (target, index_encoder):
        found = target.count()
        if found != task.num_documents:
            err.print(f"warning: index {name} holds {found:,} documents, the corpus {task.num_documents:,}")
        label = f"{request.mode} in index {name}" + (" with filters" if filters else "")
        search = index_search(target, index_encoder, request.mode.value, filters=filters)
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
    models: Sequence[Sequence[Opened]],
) -> "RetrievalStudy":
    from cl_haystack.evaluation.retrieval_report import RetrievalStudy
    from cl_haystack.evaluation.rows import PRIMARY_METRIC, system_row
    from cl_haystack.evaluation.seeds import describe_seeds

    *before, system = systems
    many = system.result.num_queries > 1
    intervals = many and find_spec("scipy") is not None
    rows = [
        system_row(s.result, _SHOWN, intervals=intervals, highlight=s is system and bool(before))
        for s in systems
    ]
    study: dict[str, Any] = {"task": task, "results": [s.result for s in systems], "rows": rows}
    untold = [] if many else ["a single judged query: neither intervals nor comparisons can be told"]
    if before and many:
        study["comparisons"], untold = _comparisons(request, others, systems, models)
    seeds = [describe_seeds(s.result, PRIMARY_METRIC) for s in systems if s.result.seeds]
    study["notes"] = [*seeds, *others.notes, *untold]
    return RetrievalStudy(**study)


def _comparisons(
    request: Request, others: Others, systems: Sequence[System], models: Sequence[Sequence[Opened]]
) -> "tuple[list[ComparisonRow], list[str]]":
    """Compare on all queries, on their parts and on the control; and say of which nothing can be told."""
    from cl_haystack.evaluation.rows import comparison_row

    before, result = (system.result for system in systems)
    rows = [comparison_row(result, before)]
    too_few = {}
    for view in others.views:
        if len(view.queries) > 1:
            rows.append(comparison_row(result, before, queries=view.queries, on=view.name))
        else:
            too_few[view.name] = len(view.queries)
    if (control := others.control) is not None:
        name = f"control: {control.name}"
        if len(control.queries) > 1:
            before, result = (evaluate_seeds(control, seeds, request.top_k).result for seeds in models)
            rows.append(comparison_row(result, before, on=name))
        else:
            too_few[name] = len(control.queries)
    parts = ", ".join(f"{name} ({num_queries})" for name, num_queries in too_few.items())
    return rows, [f"too few queries to compare: {parts}"] if parts else []


def _for_the_report(
    request: Request, task: "RetrievalTask", systems: Sequence[System], variants: Sequence[Opened]
) -> dict[str, Any]:
    from cl_haystack.evaluation.sample import draw_sample, encode_sample

    sample = draw_sample(task, [s.result for s in systems])
    vectors = []
    for system in systems:
        if system.encoder is not None:
            with progress_bar(f"drawing {system.result.label}") as on_progress:
                label = system.result.label
                vectors.append(encode_sample(sample, system.encoder, label, on_progress=on_progress))
    models = _numbered("model", [request.model, *request.other_seeds])
    models |= _numbered("baseline", request.baselines)
    trained = {s.result.label: training_of(s.encoder) for s in systems}
    return {
        "sample": sample,
        "vectors": vectors,
        "variants": _variants(request, task, systems[-1], variants),
        "datasheet": {label: facts for label, facts in trained.items() if facts},
        "provenance": {name: describe_model(value) for name, value in models.items()}
        | circumstances(request.directory),
    }


def _numbered(name: str, models: Sequence[str]) -> dict[str, str]:
    """Name the seeds of a training: ``model``, ``model, seed 2``."""
    return {f"{name}, seed {number}" if number > 1 else name: m for number, m in enumerate(models, start=1)}


def _variants(
    request: Request, task: "RetrievalTask", system: System, variants: Sequence[Opened]
) -> "list[Variant]":
    from cl_haystack.evaluation.rows import PRIMARY_METRIC
    from cl_haystack.evaluation.variants import measure_variant

    others = [evaluate_system(task, opened, request.top_k) for opened in variants]
    return [
        measure_variant(task, s.result, s.encoder, metric=PRIMARY_METRIC, num_bytes=graph_bytes(s.encoder))
        for s in ([system, *others] if others else [])
        if s.encoder is not None
    ]


def _curve(task: "RetrievalTask", curve: Sequence[tuple[int, str]], top_k: int) -> "list[CurvePoint]":
    from cl_haystack.evaluation.rows import PRIMARY_METRIC, learning_curve

    found = [(num_pairs, evaluate_system(task, open_system(path), top_k).result) for num_pairs, path in curve]
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
        first = comparisons[0] if comparisons else None
        shown |= {"baseline": _facts(before[0]), "comparison": first, "comparisons": comparisons}
    return shown


def _facts(result: "RetrievalResult") -> dict[str, Any]:
    return {"system": result.label} | result.model_dump(exclude={"label", "per_query", "run"})
