"""``cl-haystack evaluate``: how good a model is, and whether it is better than another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cl_haystack.cli.query import Mode

_FOR_RETRIEVAL = (
    *("--split", "--top-k", "--index", "--mode", "--filters", "--url"),
    *("--other-seed", "--trained-on", "--control", "--variant", "--curve", "--save-run", "--mteb"),
)


def evaluate(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="BUNDLE|CHECKPOINT|RUN", help="What to evaluate: a model, or a TREC run file."
        ),
    ],
    data: Annotated[
        Path,
        typer.Argument(
            metavar="BEIRDIR|PAIRS",
            help="A folder with corpus.jsonl, queries.jsonl, qrels/; or a file of pairs with score or label.",
        ),
    ],
    other_seed: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BUNDLE|CHECKPOINT|RUN",
            help="The same training with another seed: figures are means over seeds; repeatable.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Which judgements: qrels/SPLIT.tsv.")] = "test",
    index: Annotated[
        str | None,
        typer.Option(help="Search this index of OpenSearch; without it, search exactly, in memory."),
    ] = None,
    mode: Annotated[Mode, typer.Option(help="How to search the index.")] = Mode.dense,
    filters: Annotated[
        str | None,
        typer.Option(metavar="FILTERS", help="For every search of the index, as in query --filters."),
    ] = None,
    url: Annotated[str | None, typer.Option(help="Address of OpenSearch (default: $OPENSEARCH_URL).")] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BUNDLE|CHECKPOINT|RUN",
            help="Compare with this, searched exactly, on the same queries or pairs; repeated: seeds of it.",
        ),
    ] = None,
    trained_on: Annotated[
        Path | None,
        typer.Option(
            metavar="PAIRS",
            help="Compare also on the queries whose answers these training pairs do not give away.",
        ),
    ] = None,
    control: Annotated[
        Path | None,
        typer.Option(
            metavar="BEIRDIR", help="Compare also on a task of another domain: was anything forgotten?"
        ),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BUNDLE", help="Another export of the model, for quality against speed; repeatable."
        ),
    ] = None,
    curve: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PAIRS=RUN",
            help="Run file of the model after so many pairs, for the learning curve; repeatable, seeds too.",
        ),
    ] = None,
    calibrate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PRECISION",
            help="Write the threshold of that precision on PAIRS into BUNDLE: duplicate=0.95; repeatable.",
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Write a report for people.")
    ] = None,
    save_run: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Write what the (first) model found as a TREC run file."),
    ] = None,
    mteb: Annotated[
        Path | None,
        typer.Option(metavar="OUT.json", help="Write the metrics in MTEB's form, as BEIR names them."),
    ] = None,
    top_k: Annotated[int, typer.Option(min=100, help="Documents to find for each query.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
) -> None:
    """Measure retrieval or judged pairs; with a baseline, say better, worse or not distinguishable.

    [bold]Examples[/bold]

    cl-haystack evaluate bundle scifact --split test --baseline base-bundle --report report.html

    cl-haystack evaluate seed-1 scifact --other-seed seed-2 --other-seed seed-3 --baseline base-bundle

    cl-haystack evaluate bundle duplicates.jsonl --calibrate duplicate=0.95
    """
    from cl_haystack.cli import evaluate_pairs, evaluate_retrieval

    if data.is_file():
        _refuse(context, _FOR_RETRIEVAL, "is for retrieval: give a BEIR directory")
        if len(baseline or ()) > 1:
            raise typer.BadParameter("seeds are for retrieval; name one", param_hint="--baseline")
        evaluate_pairs.run(
            model,
            data,
            baseline=baseline[0] if baseline else None,
            calibrate=calibrate or [],
            report=report,
            as_json=as_json,
        )
        return
    _refuse(context, ["--calibrate"], "needs a file of labelled pairs")
    if index is None:
        _refuse(context, ["--mode", "--filters", "--url"], "needs --index")
    else:
        _refuse(context, ["--other-seed"], "is no option with --index, which holds the vectors of one model")
    if not baseline:
        _refuse(context, ["--trained-on", "--control"], "compares: name a --baseline")
    if report is None:
        _refuse(context, ["--variant", "--curve"], "is shown in the report: name one with --report")
    evaluate_retrieval.run(
        evaluate_retrieval.Request(
            model=model,
            other_seeds=tuple(other_seed or ()),
            directory=data,
            split=split,
            index=index,
            mode=mode,
            filters=filters,
            url=url,
            baselines=tuple(baseline or ()),
            trained_on=trained_on,
            control=control,
            variants=tuple(variant or ()),
            curve=tuple(curve or ()),
            report=report,
            save_run=save_run,
            mteb=mteb,
            top_k=top_k,
            as_json=as_json,
        )
    )


def _refuse(context: typer.Context, options: Sequence[str], why: str) -> None:
    """Say of an option that was given that it would have no effect."""
    for option in options:
        source = context.get_parameter_source(option.removeprefix("--").replace("-", "_"))
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"{option} {why}", param_hint=option)
