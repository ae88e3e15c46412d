"""``cl-haystack evaluate``: how good a model's search is, and whether it is better than another's."""

import platform
import shlex
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from cl_haystack.cli.console import err, out, print_json, progress_bar
from cl_haystack.cli.models import describe_model, open_index, open_model
from cl_haystack.cli.query import Mode

if TYPE_CHECKING:
    from cl_haystack.data import RetrievalTask
    from cl_haystack.evaluation import RetrievalResult
    from cl_haystack.evaluation.report import ComparisonRow, SystemRow

_SHOWN = ("ndcg@10", "recall@10", "recall@100", "mrr@10")


def evaluate(
    model: Annotated[str, typer.Argument(metavar="BUNDLE|CHECKPOINT", help="The model to evaluate.")],
    directory: Annotated[
        Path, typer.Argument(metavar="BEIRDIR", help="corpus.jsonl, queries.jsonl, qrels/.")
    ],
    split: Annotated[str, typer.Option(help="Which judgements: qrels/SPLIT.tsv.")] = "test",
    index: Annotated[
        str | None,
        typer.Option(help="Search this index of OpenSearch; without it, search exactly, in memory."),
    ] = None,
    mode: Annotated[Mode, typer.Option(help="How to search the index.")] = Mode.dense,
    url: Annotated[str | None, typer.Option(help="Address of OpenSearch (default: $OPENSEARCH_URL).")] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="BUNDLE|CHECKPOINT",
            help="Compare with this model, searched exactly, on the same queries.",
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Write a report for people.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=100, help="Documents to find for each query.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
) -> None:
    """Measure retrieval against judgements; with a baseline, say better, worse or not distinguishable.

    [bold]Example[/bold]

    cl-haystack evaluate bundle scifact --split test --baseline base-bundle --report report.html
    """
    from cl_haystack.data import read_beir
    from cl_haystack.evaluation.plots import require_matplotlib
    from cl_haystack.evaluation.rows import comparison_row, system_row
    from cl_haystack.evaluation.significance import require_scipy

    if mode != Mode.dense and index is None:
        raise typer.BadParameter(f"{mode} searches an index: name it with --index", param_hint="--mode")
    if baseline is not None or report is not None:  # say what is missing before minutes of work, not after
        require_scipy()
    if report is not None:
        require_matplotlib()
    task = read_beir(directory, split)
    result = (
        _evaluate_on_index(task, model, index, mode, url, top_k) if index else _evaluate(task, model, top_k)
    )
    other = _evaluate(task, baseline, top_k) if baseline else None
    comparison = comparison_row(result, other) if other else None

    intervals = result.num_queries > 1 and find_spec("scipy") is not None
    results = [other, result] if other else [result]
    rows = [
        system_row(r, _SHOWN, intervals=intervals, highlight=r is result and other is not None)
        for r in results
    ]
    if report is not None:
        models = {"model": model} | ({"baseline": baseline} if baseline else {})
        provenance = {name: describe_model(value) for name, value in models.items()}
        _write_report(report, task, results, rows, comparison, provenance)
    if as_json:
        print_json(_as_json(result, rows[-1], other, comparison))
    else:
        _print_table(task, rows, comparison)
        if report is not None:
            err.print(f"report: {report}")


def _evaluate(task: "RetrievalTask", model: str, top_k: int) -> "RetrievalResult":
    from cl_haystack.evaluation import evaluate_retrieval

    encoder, label = open_model(model)
    with progress_bar(f"evaluating {label}") as on_progress:
        return evaluate_retrieval(task, encoder, label=label, top_k=top_k, on_progress=on_progress)


def _evaluate_on_index(
    task: "RetrievalTask", model: str, name: str, mode: Mode, url: str | None, top_k: int
) -> "RetrievalResult":
    from cl_haystack.evaluation import evaluate_search
    from cl_haystack.evaluation.live import index_search

    encoder, _ = open_model(model)
    with open_index(name, url, encoder, model) as target:
        found = target.count()
        if found != task.num_documents:
            err.print(f"warning: index {name} holds {found:,} documents, the corpus {task.num_documents:,}")
        label = f"{mode} in index {name}"
        with progress_bar(f"asking index {name}") as on_progress:
            search = index_search(target, encoder, mode.value)
            return evaluate_search(task, search, label=label, top_k=top_k, on_progress=on_progress)


def _as_json(
    result: "RetrievalResult",
    row: "SystemRow",
    baseline: "RetrievalResult | None",
    comparison: "ComparisonRow | None",
) -> dict[str, Any]:
    from cl_haystack.evaluation import Interval

    shown: dict[str, Any] = _facts(result)
    shown["intervals"] = {
        name: {"low": value.low, "high": value.high}
        for name, value in row.metrics.items()
        if isinstance(value, Interval)
    }
    if baseline is not None and comparison is not None:
        found = comparison.comparison
        shown["baseline"] = _facts(baseline)
        shown["comparison"] = asdict(found) | {"ties": found.ties, "verdict": found.verdict}
    return shown


def _facts(result: "RetrievalResult") -> dict[str, Any]:
    return {"system": result.label} | result.model_dump(exclude={"label", "per_query", "run"})


def _print_table(task: "RetrievalTask", rows: "list[SystemRow]", comparison: "ComparisonRow | None") -> None:
    from cl_haystack.evaluation import Interval
    from cl_haystack.evaluation.metrics import metric_name
    from cl_haystack.evaluation.rows import conclude

    out.print(f"{escape(task.name)}: {len(task.queries):,} queries, {task.num_documents:,} documents")
    table = Table(box=None, pad_edge=False)
    table.add_column("system", overflow="fold")
    for name in _SHOWN:
        table.add_column(metric_name(name), justify="right", no_wrap=True)
    for row in rows:
        cells = [
            f"{value.mean:.4f}\n[dim]{value.low:.3f}..{value.high:.3f}[/dim]"
            if isinstance(value, Interval)
            else f"{value:.4f}"
            for value in row.metrics.values()
        ]
        table.add_row(escape(row.label), *cells)
    out.print(table)
    if comparison is not None:
        out.print(escape(conclude(comparison)))
    for row in rows:
        if row.latency is not None:
            took = row.latency
            out.print(
                f"one query: median {took.p50_ms:.1f} ms, 95 % below {took.p95_ms:.1f} ms, "
                f"99 % below {took.p99_ms:.1f} ms"
            )


def _write_report(
    path: Path,
    task: "RetrievalTask",
    results: "list[RetrievalResult]",
    rows: "list[SystemRow]",
    comparison: "ComparisonRow | None",
    provenance: dict[str, str],
) -> None:
    from cl_haystack.evaluation.examples import build_examples, hardest, largest_changes
    from cl_haystack.evaluation.report import Report, Step, write_report
    from cl_haystack.evaluation.rows import conclude, gains

    *before, result = results
    notes = largest_changes(result, before[0]) if before else hardest(result)
    write_report(
        path,
        Report(
            title=f"Retrieval on {task.name}",
            summary=f"{len(task.queries):,} questions with known answers, {task.num_documents:,} documents.",
            conclusion=conclude(comparison) if comparison else "",
            verdict=comparison.comparison.verdict if comparison else None,
            systems=rows,
            comparisons=[comparison] if comparison else [],
            gains=gains(result, before[0]) if before else None,
            examples=build_examples(task, results, notes),
            steps=[Step(name=f"evaluate {r.label}", seconds=r.seconds) for r in results],
            provenance=provenance | _circumstances(task),
        ),
    )


def _circumstances(task: "RetrievalTask") -> dict[str, str]:
    from cl_haystack import __version__

    return {
        "task": str(task.corpus_path.parent),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "made with": f"cl-haystack {__version__}, Python {platform.python_version()}",
        "command": shlex.join(["cl-haystack", *sys.argv[1:]]),
    }
