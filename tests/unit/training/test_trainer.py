"""The trainer: it learns, it repeats itself from a seed, it says what is wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from cl_haystack.data import Pair, RetrievalTask, find_overlap
from cl_haystack.errors import TrainingError
from cl_haystack.progress import Progress
from cl_haystack.training import ContrastiveTrainer, SentenceEncoder, TrainingConfig
from cl_haystack.training.checkpoint import read_layout
from cl_haystack.training.losses import Contrastive, CoSENT, CosineSimilarity, InfoNCE, Loss, Matryoshka
from cl_haystack.training.training_set import TrainingSet
from tests.tiny_model import make_tiny_checkpoint
from tests.unit.training.runs import (
    CONFIG,
    PAIRS,
    assert_nearly_the_same_model,
    assert_same_weights,
    changed,
    embeddings,
    many_pairs,
    pairs_to_learn,
    trained,
    weights,
)


def ranks(encoder: SentenceEncoder) -> list[int]:
    """Rank of each anchor's positive among all positives, 0 is best."""
    similarities = (
        encoder.encode_queries([p.anchor for p in PAIRS])
        @ encoder.encode_documents([p.positive for p in PAIRS]).T
    )
    return [int((row > row[i]).sum()) for i, row in enumerate(similarities)]


def test_a_loss_without_in_batch_negatives_learns_at_a_lower_rate(checkpoint: Path) -> None:
    def rate(loss: Loss | None, **options: Any) -> float | None:
        return ContrastiveTrainer(
            checkpoint, loss=loss, config=TrainingConfig(**options)
        ).config.learning_rate

    assert rate(None) == rate(InfoNCE()) == rate(Matryoshka(InfoNCE(), [8, 4])) == 1e-4
    assert rate(CoSENT()) == rate(Contrastive()) == 2e-5
    assert rate(CoSENT(), learning_rate=3e-5) == rate(None, learning_rate=3e-5) == 3e-5


def test_up_to_100_000_pairs_are_averaged_with_the_base_model() -> None:
    def share(*losses: Loss, num_pairs: int = 100_000, **options: Any) -> float | None:
        config = TrainingConfig(**options)
        return config.settled(losses or [InfoNCE()], num_pairs=num_pairs).base_weight

    assert share() == share(CoSENT()) == share(InfoNCE(), CoSENT()) == 0.3
    assert share(num_pairs=100_001) == share(InfoNCE(), Contrastive()) == share(base_weight=0.0) == 0
    assert share(num_pairs=100_001, base_weight=0.5) == 0.5


def test_a_model_that_embeds_no_texts_yet_is_not_averaged_with(checkpoint: Path) -> None:
    (checkpoint / "modules.json").unlink()
    trainer = ContrastiveTrainer(checkpoint, config=TrainingConfig(num_epochs=1))
    trainer.train(many_pairs(4))
    assert trainer.config.base_weight == 0


def test_one_loss_without_in_batch_negatives_lowers_the_rate_of_the_run(checkpoint: Path) -> None:
    graded = [pair.model_copy(update={"score": 0.3}) for pair in many_pairs(4)]
    trainer = ContrastiveTrainer(checkpoint, config=TrainingConfig(num_epochs=1))
    trainer.train([TrainingSet(many_pairs(4)), TrainingSet(graded, loss=CoSENT())])
    assert (trainer.config.learning_rate, trainer.config.base_weight) == (2e-5, 0.3)
    trainer.train(many_pairs(4))
    assert (trainer.config.learning_rate, trainer.config.base_weight) == (1e-4, 0.3)


def test_training_teaches_the_pairs_and_the_checkpoint_holds_it(checkpoint: Path, tmp_path: Path) -> None:
    before = ranks(SentenceEncoder.load(checkpoint))
    trainer = ContrastiveTrainer(checkpoint, config=changed(num_epochs=30))
    seen: list[Progress] = []
    report = trainer.train(PAIRS, on_progress=seen.append)
    trainer.save(tmp_path / "tuned")
    assert sum(before) > 0
    assert ranks(SentenceEncoder.load(tmp_path / "tuned")) == [0, 0, 0, 0]
    assert report.last_loss < report.first_loss / 2
    assert (report.steps, report.num_pairs, report.unused_pairs) == (30, 4, 0)
    assert [step.done for step in seen] == list(range(1, 31))
    assert {step.total for step in seen} == {30}
    assert "loss" in seen[-1].note
    assert "pairs/s" in seen[-1].note


def test_record_of_the_run_is_kept(checkpoint: Path, tmp_path: Path) -> None:
    provenance = {"path": "pairs.jsonl", "sha256": "0" * 64, "bytes": 1, "licence": "CC0"}
    trainer = ContrastiveTrainer(checkpoint, config=CONFIG)
    trainer.train([TrainingSet(PAIRS, loss=InfoNCE(scale=10), name="synonyms", provenance=provenance)])
    trainer.save(tmp_path / "tuned")
    record = read_layout(tmp_path / "tuned").training
    assert (record["loss"]["name"], record["loss"]["scale"], record["loss"]["temperature"]) == (
        "infonce",
        10,
        0.1,
    )
    assert record["datasets"] == [{"name": "synonyms", **provenance, "num_pairs": 4, "loss": record["loss"]}]
    assert record["hyperparameters"] == {**CONFIG.model_dump(mode="json"), "base_weight": 0.3}
    assert (record["seed"], record["num_pairs"], record["steps"]) == (CONFIG.seed, 4, 2)
    assert [(each["name"], each["num_pairs"]) for each in record["scores"]] == [("synonyms", 4)]


def test_what_the_task_shares_with_the_pairs_is_recorded(
    checkpoint: Path, task: RetrievalTask, tmp_path: Path
) -> None:
    """As it is found out, or as it is told by whoever knows."""
    trainer = ContrastiveTrainer(checkpoint, config=changed(num_epochs=1, evaluations=1))
    pairs, another = pairs_to_learn(20)[:4], find_overlap(PAIRS, task)
    for told, expected in ((None, find_overlap(pairs, task)), (another, another)):
        trainer.train(pairs, task=task, overlap=told)
        trainer.save(tmp_path / "tuned")
        assert read_layout(tmp_path / "tuned").training["overlap"] == expected.counts()
    assert another.num_seen == 0 < find_overlap(pairs, task).num_seen


def test_same_seed_same_weights(checkpoint: Path) -> None:
    first, again, other = (weights(trained(checkpoint, dropout=0.1, seed=seed).encoder) for seed in (1, 1, 2))
    assert_same_weights(again, first)
    name = "transformer.encoder.layer.0.output.dense.weight"
    assert not torch.allclose(other[name], first[name], atol=1e-4)


def test_max_length_of_training_is_that_of_the_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    trained(checkpoint, max_length=8).save(tmp_path / "tuned")
    assert SentenceEncoder.load(tmp_path / "tuned").max_length == 8


def test_nothing_to_save_before_training(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="call train first"):
        ContrastiveTrainer(checkpoint).save(tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()


def test_several_data_sets_have_a_loss_each_and_a_record_each(checkpoint: Path, tmp_path: Path) -> None:
    graded = [pair.model_copy(update={"score": (i % 4) / 3}) for i, pair in enumerate(many_pairs(12))]
    labelled = [pair.model_copy(update={"label": i % 2}) for i, pair in enumerate(many_pairs(9))]
    sets = [
        TrainingSet(many_pairs(10), loss=Matryoshka(InfoNCE(), [16, 8]), name="ranked"),
        TrainingSet(graded, loss=CoSENT(scale=5), name="graded", num_epochs=1),
        TrainingSet(labelled, loss=Contrastive(), name="labelled"),
    ]
    trainer = ContrastiveTrainer(checkpoint, config=CONFIG)
    report = trainer.train(sets)
    assert report.num_pairs == 31
    assert report.steps == 2 * 3 + 3 + 2 * 3
    trainer.save(tmp_path / "tuned")
    record = read_layout(tmp_path / "tuned").training
    assert [(each["name"], each["num_pairs"]) for each in record["datasets"]] == [
        ("ranked", 10),
        ("graded", 12),
        ("labelled", 9),
    ]
    assert [each["loss"]["name"] for each in record["datasets"]] == ["matryoshka", "cosent", "contrastive"]
    assert record["datasets"][0]["loss"]["dimensions"] == [16, 8]


def test_each_batch_is_judged_by_the_loss_of_its_set(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the scores of its own set CoSENT could not be computed, and InfoNCE would take no notice."""
    judged: list[tuple[str, bool]] = []
    for loss in (InfoNCE, CoSENT):
        own = loss.forward

        def watched(self: Any, anchors: Any, candidates: Any, batch: Any, own: Any = own) -> Any:
            judged.append((self.name, batch.scores is not None))
            return own(self, anchors, candidates, batch)

        monkeypatch.setattr(loss, "forward", watched)
    graded = [pair.model_copy(update={"score": 0.3}) for pair in many_pairs(8)]
    ContrastiveTrainer(checkpoint, config=CONFIG).train(
        [TrainingSet(many_pairs(8)), TrainingSet(graded, loss=CoSENT())]
    )
    assert sorted(judged) == [("cosent", True)] * 4 + [("infonce", False)] * 4


def test_two_sets_may_share_a_loss_that_learns(checkpoint: Path, tmp_path: Path) -> None:
    """And a state holds what they learned once: safetensors refuses weights that share memory."""
    loss = InfoNCE(learn_scale=True)
    sets = [TrainingSet(many_pairs(8), loss=loss), TrainingSet(PAIRS, loss=loss)]
    config = changed(save_interval_s=0)
    ContrastiveTrainer(checkpoint, config=config).train(sets, state=tmp_path / "state")
    assert len(list((tmp_path / "state").glob("checkpoint-*"))) == 1


def test_a_learned_temperature_moves_and_is_recorded(checkpoint: Path, tmp_path: Path) -> None:
    trainer = ContrastiveTrainer(checkpoint, loss=InfoNCE(scale=10, learn_scale=True), config=CONFIG)
    trainer.train(PAIRS)
    trainer.save(tmp_path / "tuned")
    record = read_layout(tmp_path / "tuned").training["loss"]
    assert record["scale"] == 10
    assert abs(record["learned_scale"] - 10) > 0.1
    stored = load_file(tmp_path / "tuned" / "model.safetensors")
    assert not [name for name in stored if "scale" in name]


def test_a_weight_counts_like_that_many_copies(checkpoint: Path) -> None:
    """For a loss in which rows do not meet, in one batch that holds them all."""
    pairs = [pair.model_copy(update={"score": 0.2 * i}) for i, pair in enumerate(many_pairs(4))]
    heavy = [pairs[0].model_copy(update={"weight": 3.0}), *pairs[1:]]
    copies = [pairs[0], pairs[0], *pairs]

    def tuned(rows: list[Pair]) -> Tensor:
        config = changed(batch_size=8, num_epochs=3)
        trainer = ContrastiveTrainer(checkpoint, loss=CosineSimilarity(), config=config)
        trainer.train(rows)
        return embeddings(trainer.encoder)

    weighted, expected, plain = tuned(heavy), tuned(copies), tuned(pairs)
    assert_nearly_the_same_model(weighted, expected, embeddings(SentenceEncoder.load(checkpoint)))
    with pytest.raises(AssertionError):
        assert_nearly_the_same_model(plain, expected, embeddings(SentenceEncoder.load(checkpoint)))


def test_accumulated_batches_are_one_batch_where_rows_do_not_meet(checkpoint: Path) -> None:
    pairs = [pair.model_copy(update={"score": 0.1 * i}) for i, pair in enumerate(many_pairs(8))]

    def tuned(**options: int) -> Tensor:
        config = changed(num_epochs=3, seed=3, **options)
        trainer = ContrastiveTrainer(checkpoint, loss=CosineSimilarity(), config=config)
        assert trainer.train(pairs).steps == 3
        return embeddings(trainer.encoder)

    found = tuned(batch_size=2, gradient_accumulation_steps=4)
    expected = tuned(batch_size=8)
    assert_nearly_the_same_model(found, expected, embeddings(SentenceEncoder.load(checkpoint)))


@pytest.mark.parametrize(
    "options",
    [
        {"mini_batch_size": 3},
        {"gradient_checkpointing": True},
        {"gradient_checkpointing": True, "mini_batch_size": 3},
        {"num_workers": 2},
    ],
    ids=str,
)
def test_what_saves_memory_or_time_changes_no_weight(checkpoint: Path, options: dict[str, Any]) -> None:
    pairs = many_pairs(10, negatives=lambda i: i % 3)
    expected = embeddings(trained(checkpoint, pairs).encoder)
    found = embeddings(trained(checkpoint, pairs, **options).encoder)
    assert_nearly_the_same_model(found, expected, embeddings(SentenceEncoder.load(checkpoint)))


def test_prefixes_are_trained_with_and_stored(checkpoint: Path, tmp_path: Path) -> None:
    plain = trained(checkpoint)
    trainer = trained(checkpoint, query_prefix="query : ", document_prefix="passage : ")
    trainer.save(tmp_path / "tuned")
    loaded = SentenceEncoder.load(tmp_path / "tuned")
    assert (loaded.layout.query_prefix, loaded.layout.document_prefix) == ("query : ", "passage : ")
    name = "transformer.encoder.layer.0.output.dense.weight"
    assert not torch.equal(weights(plain.encoder)[name], weights(trainer.encoder)[name])
    with_prefix = make_tiny_checkpoint(
        tmp_path / "other", query_prefix="query : ", document_prefix="passage : "
    )
    assert_same_weights(weights(trained(with_prefix).encoder), weights(trainer.encoder))
    assert_same_weights(
        weights(trained(with_prefix, query_prefix="", document_prefix="").encoder), weights(plain.encoder)
    )


@pytest.mark.parametrize("options", [{}, {"lora_rank": 2, "base_weight": 0.2}], ids=["plain", "lora"])
def test_sentence_transformers_opens_what_was_trained(
    checkpoint: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    from sentence_transformers import SentenceTransformer

    if options:
        pytest.importorskip("peft")
    trainer = trained(checkpoint, query_prefix="query : ", document_prefix="passage : ", **options)
    trainer.save(tmp_path / "tuned")
    theirs = SentenceTransformer(str(tmp_path / "tuned"), device="cpu")
    texts = ["the cat sat on the mat", "dog", "red house " * 30, "\u4f60\u597d", "query passage"]
    for ours, other in (
        (trainer.encoder.encode_queries(texts), theirs.encode_query(texts)),
        (trainer.encoder.encode_documents(texts), theirs.encode_document(texts)),
    ):
        cosines = (ours * other).sum(axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(other, axis=1)
        assert cosines.min() > 0.99999
    assert (
        np.abs(trainer.encoder.encode_queries(texts) - trainer.encoder.encode_documents(texts)).max() > 0.01
    )


@pytest.mark.slow
def test_sentence_transformers_opens_the_tuned_base_model(base_model: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    pairs = [
        Pair(anchor="How do I reset a password?", positive="Open the account page and choose a new one."),
        Pair(anchor="Where is the log?", positive="Messages are kept in a file named after the service."),
        Pair(anchor="What does it cost?", positive="The first ten users are free of charge."),
    ]
    trainer = ContrastiveTrainer(base_model, config=changed(num_epochs=3, learning_rate=5e-5))
    report = trainer.train(pairs)
    trainer.save(tmp_path / "tuned")
    texts = [text for pair in pairs for text in (pair.anchor, pair.positive)]
    before = SentenceEncoder.load(base_model).encode_queries(texts)
    ours = trainer.encoder.encode_queries(texts)
    theirs = SentenceTransformer(str(tmp_path / "tuned"), device="cpu").encode(texts)
    assert report.last_loss < report.first_loss
    assert (ours * theirs).sum(axis=1).min() > 0.99999
    assert (ours * before).sum(axis=1).min() < 0.999


def test_pairs_that_never_were_in_a_batch_are_counted(checkpoint: Path) -> None:
    pairs = [*many_pairs(4), *(Pair(anchor=f"cat {i}", positive="red") for i in "abc")]
    report = ContrastiveTrainer(checkpoint, config=changed(num_epochs=1, batch_size=5)).train(pairs)
    assert report.unused_pairs == 2


def test_nothing_is_printed_or_warned_of(
    checkpoint: Path, task: RetrievalTask, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """pytest makes errors of warnings here; what transformers logs goes to the standard error."""
    config = changed(save_interval_s=0, evaluations=1, precision="bf16", mini_batch_size=2)
    ContrastiveTrainer(checkpoint, config=config).train(PAIRS, task=task, state=tmp_path / "state")
    assert capfd.readouterr() == ("", "")


def test_training_cuts_texts_shorter_than_the_checkpoint_does(checkpoint: Path) -> None:
    """What stands behind the cut teaches nothing, and is still read by the model that comes out."""
    heads = [pair.model_copy(update={"positive": f"{pair.positive} the the the the"}) for pair in PAIRS]
    whole = [pair.model_copy(update={"positive": f"{pair.positive} sat sat sat"}) for pair in heads]
    cut = [trained(checkpoint, pairs, training_length=6).encoder for pairs in (heads, whole)]
    assert_same_weights(weights(cut[0]), weights(cut[1]))
    uncut = trained(checkpoint, whole, training_length=None).encoder
    assert not torch.equal(embeddings(uncut), embeddings(cut[0]))
    assert cut[0].max_length == SentenceEncoder.load(checkpoint).max_length > 6
    same, longer = cut[0].encode_documents(["the cat sat on the", "the cat sat on the mat with a red house"])
    assert not np.allclose(same, longer)
