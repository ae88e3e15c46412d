"""``cl-haystack pairs from-generator``: questions that a model makes up."""

from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from cl_haystack.cli.console import err, print_json, progress_bar
from cl_haystack.cli.pairs.making import AsJson, GivenCorpus, Origin, Out, tell_oddities, write_described


def from_generator(
    corpus: Annotated[
        Path, typer.Argument(metavar="CORPUS.jsonl", help="Documents: _id, title, text, meta.")
    ],
    out: Out,
    pipeline: Annotated[
        Path, typer.Option(metavar="PIPELINE.yaml", help="A Haystack pipeline with a generator in it.")
    ],
    component: Annotated[str, typer.Option(help="Name of the generator in the pipeline.")] = "generator",
    bundle: Annotated[
        str | None,
        typer.Option(
            metavar="BUNDLE|CHECKPOINT", help="Keep only questions that find their document with it."
        ),
    ] = None,
    prompt: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What to ask, with {text} and {num_questions}.")
    ] = None,
    num_questions: Annotated[int, typer.Option(min=1, help="Questions of a document.")] = 3,
    top_k: Annotated[int, typer.Option(min=1, help="A question's document must be among this many.")] = 3,
    max_documents: Annotated[
        int | None, typer.Option(min=1, help="Ask about the first documents only.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let a generator of yours make up questions, and keep those that a search answers.

    [bold]Example[/bold]

    cl-haystack pairs from-generator corpus.jsonl --pipeline generator.yaml --bundle bundle -o pairs.jsonl
    """
    from cl_haystack.cli.models import open_model
    from cl_haystack.data.synthesis import PROMPT, SynthesisCounts, generate_with, pairs_from_generator
    from cl_haystack.errors import DataError

    counts, given = SynthesisCounts(), GivenCorpus(corpus)
    generator = _component(pipeline, component)
    encoder = None if bundle is None else open_model(bundle)[0]
    with progress_bar("asking") as on_progress:
        pairs = pairs_from_generator(
            islice(given.documents(), max_documents),
            generate_with(generator),
            counts,
            encoder=encoder,
            prompt=PROMPT if prompt is None else _read_prompt(prompt),
            num_questions=num_questions,
            top_k=top_k,
            on_progress=on_progress,
        )
    if not pairs:
        raise DataError(f"no question is left: {counts.as_dict()}; nothing was written", path=corpus)
    name = type(generator).__name__
    origin = Origin(f"from-generator ({name})", (corpus, pipeline), f"nobody: made up by {name}")
    write_described(pairs, out, origin, counts.as_dict)
    if as_json:
        print_json(counts.as_dict() | {"oddities": [asdict(oddity) for oddity in given.oddities()]})
        return
    tell_oddities(given.oddities())
    err.print(
        f"{out}: {counts.pairs:,} pairs of {counts.questions:,} questions about {counts.documents:,} "
        f"documents; dropped: {counts.not_found:,} (do not find their document), {counts.copied:,} (copied), "
        f"{counts.repeated:,} (repeated), {counts.unreadable:,} (no question); {counts.failures:,} failed "
        "calls",
    )


def _read_prompt(path: Path) -> str:
    from cl_haystack.errors import ConfigurationError

    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8 ({error.reason}); save it as UTF-8") from None


def _component(path: Path, name: str) -> Any:
    from haystack import Pipeline

    from cl_haystack.errors import ConfigurationError

    try:
        pipeline = Pipeline.loads(path.read_text(encoding="utf-8"))
    except Exception as error:
        raise ConfigurationError(f"{path}: is no pipeline that Haystack loads: {error}") from error
    found = dict(pipeline.walk())
    if name not in found:
        known = ", ".join(found) or "none"
        raise ConfigurationError(
            f"{path}: has no component {name!r}; it has {known}: name it with --component"
        )
    return found[name]
