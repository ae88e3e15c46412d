"""The ``cl-haystack`` command: one verb for each step from raw documents to a measured search."""

import sys

import typer

from cl_haystack.cli.adopt import adopt
from cl_haystack.cli.bundle import app as bundle
from cl_haystack.cli.demo import demo
from cl_haystack.cli.duplicates import duplicates
from cl_haystack.cli.evaluate import evaluate
from cl_haystack.cli.export import export
from cl_haystack.cli.index import index
from cl_haystack.cli.inspect import inspect
from cl_haystack.cli.mine import mine
from cl_haystack.cli.opensearch import app as opensearch
from cl_haystack.cli.pairs import app as pairs
from cl_haystack.cli.query import query
from cl_haystack.cli.reembed import reembed
from cl_haystack.cli.train import train
from cl_haystack.cli.tune import tune
from cl_haystack.errors import CLHaystackError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Fine-tune a text encoder on your own pairs and serve it in Haystack pipelines over OpenSearch.",
)
for verb in (demo, mine, train, evaluate, export, inspect, index, adopt, reembed, query, tune, duplicates):
    app.command()(verb)
app.add_typer(bundle, name="bundle")
app.add_typer(pairs, name="pairs")
app.add_typer(opensearch, name="opensearch")


def main() -> None:
    """Run the command line; errors of ours become one line on standard error and exit status 1."""
    try:
        app()
    except (CLHaystackError, OSError) as error:  # OSError: a file that cannot be read, a full disk
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
