"""``cl-haystack tune``: the hybrid search that answers the user's own judged queries best."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cl_haystack.cli.console import out, print_json, progress_bar
from cl_haystack.cli.models import open_encoder, open_index


def tune(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle: its directory or packed file.")],
    data: Annotated[
        Path, typer.Argument(metavar="BEIRDIR", help="A folder with corpus.jsonl, queries.jsonl, qrels/.")
    ],
    name: Annotated[str, typer.Option("--index", help="Name of the index or alias; holds that corpus.")],
    split: Annotated[
        str, typer.Option(help="Which judgements: qrels/SPLIT.tsv. Not those that you report figures on.")
    ] = "train",
    metric: Annotated[str, typer.Option(help="What to raise, such as ndcg@10 or recall@100.")] = "ndcg@10",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell the settings, and keep none.")] = False,
    url: Annotated[str | None, typer.Option(help="Address of OpenSearch (default: $OPENSEARCH_URL).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Choose weights, fusion and depth of hybrid search on judged queries, and keep them in the index.

    Every hybrid search that names no weights uses them from then on. A model that was trained on the
    queries makes vectors look better than they are: take others, if you have them.

    [bold]Example[/bold]

    cl-haystack tune bundle my-questions --split dev --index articles
    """
    from cl_haystack.bundle import ModelBundle
    from cl_haystack.data import read_beir
    from cl_haystack.opensearch.fusion import DEFAULT
    from cl_haystack.opensearch.tuning import tune_hybrid

    task = read_beir(data, split)
    with open_index(name, url, ModelBundle.load(bundle)) as index:
        encoder = open_encoder(index)
        with progress_bar(f"tuning {name}") as on_progress:
            report = tune_hybrid(
                index,
                encoder,
                task.queries,
                task.qrels,
                dataset=task.name,
                metric=metric,
                on_progress=on_progress,
            )
        if not dry_run:
            index.keep_hybrid_settings(report.settings)
    if as_json:
        print_json(report.plain())
        return
    table = Table("fusion", "depth", "weights (words, vectors)", metric, box=None, pad_edge=False)
    for settings, value in report.tried:
        words, vectors = settings.weights
        table.add_row(
            settings.fusion, str(settings.pagination_depth), f"{words:.2f}, {vectors:.2f}", f"{value:.4f}"
        )
    out.print(table)
    compared = report.comparison
    out.print(
        f"default (min_max, {DEFAULT.pagination_depth}, equal weights) {compared.baseline_mean:.4f}: "
        f"{compared.verdict}, {compared.difference.mean:+.4f} [{compared.difference.low:+.4f}, "
        f"{compared.difference.high:+.4f}] on {compared.num_queries:,} queries"
    )
    out.print("kept nowhere (--dry-run)" if dry_run else f"the first row is kept in index '{name}'")
