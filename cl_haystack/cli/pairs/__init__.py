"""``cl-haystack pairs``: training pairs from what people have, and whether they are good."""

import typer

from cl_haystack.cli.pairs.check import check
from cl_haystack.cli.pairs.clicks import from_clicks
from cl_haystack.cli.pairs.describe import describe
from cl_haystack.cli.pairs.generator import from_generator
from cl_haystack.cli.pairs.making import from_corpus, from_qrels
from cl_haystack.cli.pairs.split import sample, split
from cl_haystack.cli.pairs.table import from_table

app = typer.Typer(no_args_is_help=True, help="Make training pairs out of what you have, and check them.")
for verb in (
    from_corpus,
    from_qrels,
    from_table,
    from_clicks,
    from_generator,
    check,
    split,
    sample,
    describe,
):
    app.command()(verb)
