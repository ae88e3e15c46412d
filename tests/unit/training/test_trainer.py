"""The trainer: it learns, it repeats itself from a seed, it says what is wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from cl_haystack.data import Pair, RetrievalTask, read_pairs
from cl_haystack.errors import ConfigurationError, DataError, TrainingError
from cl_haystack.evaluation import evaluate_retrieval
from cl_haystack.progress import Progress
from cl_haystack.training import ContrastiveTrainer, SentenceEncoder, TrainingConfig
from cl_haystack.training.checkpoint import read_layout
from cl_haystack.training.losses import (
    Contrastive,
    CoSENT,
    CosineSimilarity,
    DistillKL,
    EmbeddingDistillation,
    GISTEmbed,
    InfoNCE,
    Loss,
    MarginMSE,
    Matryoshka,
)
from cl_haystack.training.training_set import TrainingSet
from tests.tiny_model import make_tiny_checkpoint
from tests.unit.training.runs import (
    CONFIG,
    PAIRS,
    WreckWeights,
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


def test_one_loss_without_in_batch_negatives_lowers_the_rate_of_the_run(checkpoint: Path) -> None:
    graded = [pair.model_copy(update={"score": 0.3}) for pair in many_pairs(4)]
    trainer = ContrastiveTrainer(checkpoint, config=TrainingConfig(num_epochs=1))
    trainer.train([TrainingSet(many_pairs(4)), TrainingSet(graded, loss=CoSENT())])
    assert trainer.config.learning_rate == 2e-5
    trainer.train(many_pairs(4))
    assert trainer.config.learning_rate == 1e-4


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
    assert record["hyperparameters"] == CONFIG.model_dump(mode="json")
    assert (record["seed"], record["num_pairs"], record["steps"]) == (CONFIG.seed, 4, 2)
    assert [(each["name"], each["num_pairs"]) for each in record["scores"]] == [("synonyms", 4)]


def test_same_seed_same_weights(checkpoint: Path) -> None:
    first, again, other = (weights(trained(checkpoint, dropout=0.1, seed=seed).encoder) for seed in (1, 1, 2))
    assert_same_weights(again, first)
    name = "transformer.encoder.layer.0.output.dense.weight"
    assert not torch.allclose(other[name], first[name], atol=1e-4)


def test_max_length_of_training_is_that_of_the_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    trained(checkpoint, max_length=8).save(tmp_path / "tuned")
    assert SentenceEncoder.load(tmp_path / "tuned").max_length == 8


@pytest.mark.parametrize("pairs", [[], PAIRS[:1]])
def test_too_few_pairs(checkpoint: Path, pairs: list[Pair]) -> None:
    with pytest.raises(DataError, match="is empty" if not pairs else "at least 2"):
        trained(checkpoint, pairs)


def test_loss_that_is_not_finite_names_step_and_saves_its_batch(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trainer = ContrastiveTrainer(checkpoint, config=CONFIG)
    with torch.no_grad():
        trainer.encoder.transformer.embeddings.word_embeddings.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"step 1 is nan.*anchor '.*not-finite-step-1.jsonl"):
        trainer.train(PAIRS)
    saved = list(read_pairs(tmp_path / "not-finite-step-1.jsonl"))
    assert sorted(saved, key=lambda p: p.anchor) == sorted(PAIRS, key=lambda p: p.anchor)


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


@pytest.mark.parametrize(
    "loss", [GISTEmbed(), MarginMSE(), DistillKL(), EmbeddingDistillation()], ids=lambda loss: loss.name
)
def test_losses_with_a_guide_or_teacher(checkpoint: Path, tmp_path: Path, loss: Loss) -> None:
    teacher = make_tiny_checkpoint(tmp_path / "teacher", seed=1, query_prefix="query : ")
    before = weights(SentenceEncoder.load(teacher))
    trainer = ContrastiveTrainer(checkpoint, loss=loss, config=changed(num_epochs=20), guide=teacher)
    report = trainer.train(many_pairs(8, negatives=lambda _: 2))
    assert report.last_loss < report.first_loss
    assert_same_weights(weights(SentenceEncoder.load(teacher)), before)


@pytest.mark.parametrize(
    "loss",
    [MarginMSE(), DistillKL(), EmbeddingDistillation(), Matryoshka(MarginMSE(), [8])],
    ids=lambda loss: loss.name,
)
def test_a_model_is_not_its_own_teacher(checkpoint: Path, loss: Loss) -> None:
    trainer = ContrastiveTrainer(checkpoint, loss=loss, config=CONFIG)
    with pytest.raises(ConfigurationError, match="learns from a teacher, and 'pairs' has none: name a guide"):
        trainer.train(many_pairs(8, negatives=lambda _: 2))


def test_a_guide_that_is_named_goes_before_the_scores_of_pairs(checkpoint: Path, tmp_path: Path) -> None:
    teacher = make_tiny_checkpoint(tmp_path / "teacher", seed=1)
    plain = many_pairs(8, negatives=lambda _: 2)
    scored = [pair.model_copy(update={"candidate_scores": (0.9, 0.5, 0.1)}) for pair in plain]

    def tuned(pairs: list[Pair], guide: Path | None) -> dict[str, Tensor]:
        trainer = ContrastiveTrainer(checkpoint, loss=MarginMSE(), config=CONFIG, guide=guide)
        trainer.train(pairs)
        return weights(trainer.encoder)

    guided = tuned(plain, teacher)
    assert_same_weights(tuned(scored, teacher), guided)
    name = "transformer.encoder.layer.0.output.dense.weight"
    assert not torch.equal(tuned(scored, None)[name], guided[name])


def test_a_model_is_its_own_guide(checkpoint: Path) -> None:
    trainer = ContrastiveTrainer(checkpoint, loss=GISTEmbed(), config=CONFIG)
    assert trainer.train(many_pairs(8)).steps == 4


def test_a_student_becomes_its_teacher(checkpoint: Path, tmp_path: Path) -> None:
    """Prefixes included: each reads the texts with its own."""
    teacher = make_tiny_checkpoint(tmp_path / "teacher", seed=1, query_prefix="query : ")
    texts = [pair.anchor for pair in many_pairs(12)]
    trainer = ContrastiveTrainer(
        checkpoint, loss=EmbeddingDistillation(), config=changed(num_epochs=60), guide=teacher
    )
    expected = SentenceEncoder.load(teacher).encode_queries(texts)
    before = (trainer.encoder.encode_queries(texts) * expected).sum(axis=1).mean()
    trainer.train(many_pairs(12))
    assert before < 0.5
    assert (trainer.encoder.encode_queries(texts) * expected).sum(axis=1).mean() > 0.9


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


def test_the_best_weights_of_all_evaluations_are_kept(checkpoint: Path, task: RetrievalTask) -> None:
    seen: list[Progress] = []
    config = changed(num_epochs=6, batch_size=10, evaluations=6)
    trainer = ContrastiveTrainer(checkpoint, config=config, callbacks=[WreckWeights(9)])
    report = trainer.train(pairs_to_learn(20), task=task, on_progress=seen.append)
    assert [each["step"] for each in report.evaluations] == [2, 4, 6, 8, 10, 12]
    measured = [each["ndcg@10"] for each in report.evaluations]
    assert measured[0] < max(measured[:4]) > 0.1 + max(measured[4:])
    assert evaluate_retrieval(task, trainer.encoder).metrics["ndcg@10"] == pytest.approx(max(measured))
    assert {"recall@100", "mrr@10", "map@100"} <= report.evaluations[0].keys()
    assert "nDCG@10" not in seen[1].note
    assert f"nDCG@10 {measured[0]:.3f}, " in seen[2].note
    assert f"nDCG@10 {measured[4]:.3f}, " in seen[-1].note
    assert report.steps == 12


@pytest.mark.parametrize(
    ("steps", "evaluations", "expected"), [(10, 3, [4, 7, 10]), (2, 3, [1, 2]), (4, 1, [4])]
)
def test_evaluations_are_spread_evenly_and_the_last_is_at_the_end(
    checkpoint: Path, task: RetrievalTask, steps: int, evaluations: int, expected: list[int]
) -> None:
    config = changed(num_epochs=steps, batch_size=4, evaluations=evaluations)
    report = ContrastiveTrainer(checkpoint, config=config).train(PAIRS, task=task)
    assert [each["step"] for each in report.evaluations] == expected


def test_patience_ends_training_early(checkpoint: Path, task: RetrievalTask) -> None:
    config = changed(num_epochs=6, batch_size=10, evaluations=12, patience=3)
    trainer = ContrastiveTrainer(checkpoint, config=config, callbacks=[WreckWeights(6)])
    report = trainer.train(pairs_to_learn(20), task=task)
    measured = [each["ndcg@10"] for each in report.evaluations]
    assert report.steps == len(measured) < 12
    assert 0 < measured.index(max(measured)) == len(measured) - 4
    assert evaluate_retrieval(task, trainer.encoder).metrics["ndcg@10"] == pytest.approx(max(measured))


def test_patience_without_evaluations_is_refused(checkpoint: Path) -> None:
    with pytest.raises(ConfigurationError, match="patience is 2: stopping early needs evaluations"):
        trained(checkpoint, patience=2)


def test_items_that_are_no_pairs_are_not_passed_over(checkpoint: Path) -> None:
    trainer = ContrastiveTrainer(checkpoint, config=CONFIG)
    for items in ([{"anchor": "cat", "positive": "red"}], [None, *PAIRS], [*PAIRS, TrainingSet(PAIRS)]):
        with pytest.raises(DataError, match=r"item [04] of the training data is a .*expected pairs only"):
            trainer.train(items)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="item 1 of the training data is a Pair"):
        trainer.train([TrainingSet(PAIRS), PAIRS[0]])  # type: ignore[list-item]


def test_pairs_and_sets_may_come_one_at_a_time(checkpoint: Path) -> None:
    expected = weights(trained(checkpoint).encoder)
    assert_same_weights(weights(trained(checkpoint, iter(PAIRS)).encoder), expected)
    assert_same_weights(weights(trained(checkpoint, (TrainingSet(PAIRS) for _ in "1")).encoder), expected)


def test_options_that_transformers_refuses(checkpoint: Path) -> None:
    for arguments, message in (({"no_such": 1}, "no_such"), ({"lr_scheduler_type": "x"}, "SchedulerType")):
        with pytest.raises(ConfigurationError, match=f"TrainingArguments refuses the options: .*{message}"):
            trained(checkpoint, arguments=arguments)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("learning_rate", "set learning_rate"),
        ("per_device_train_batch_size", "set batch_size"),
        ("num_train_epochs", "set num_epochs"),
        ("optim", "AdamW"),
        ("output_dir", "state"),
    ],
)
def test_arguments_that_fields_stand_for_are_refused(checkpoint: Path, name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=f"arguments hold {name!r}.*{hint}"):
        trained(checkpoint, arguments={name: 1})


def test_more_tokens_than_the_model_has_positions(checkpoint: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"max_length is 65 tokens, but .* has positions for 64"):
        trained(checkpoint, max_length=65)


def test_a_loss_that_becomes_infinite_later_names_its_step_and_leaves_the_state(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third step's loss is a stand-in that returns infinity; two batches make a step."""
    own, calls = InfoNCE.forward, []

    def infinite_later(self: Any, *batch: Any) -> Any:
        calls.append(1)
        return own(self, *batch) * (float("inf") if len(calls) == 6 else 1)

    monkeypatch.setattr(InfoNCE, "forward", infinite_later)
    pairs = many_pairs(16, negatives=lambda i: i % 2)
    config = changed(save_interval_s=0, gradient_accumulation_steps=2)
    trainer = ContrastiveTrainer(checkpoint, config=config)
    with pytest.raises(TrainingError, match="the loss of step 3 is inf; its batch") as caught:
        trainer.train(pairs, state=tmp_path / "state")
    (file,) = tmp_path.glob("state.not-finite-step-3.jsonl")
    assert str(file) in str(caught.value)
    saved = list(read_pairs(file))
    assert len(saved) == 8
    assert set(saved) < set(pairs)
    assert (tmp_path / "state" / "checkpoint-2").is_dir()


def test_a_gradient_that_is_not_finite_stops_before_the_step(checkpoint: Path, tmp_path: Path) -> None:
    """The loss of the second step is finite, its gradient is not: the square root of 0 has none."""
    own, calls = InfoNCE.forward, []

    class Steep(InfoNCE):
        def forward(self, *batch: Any) -> Any:
            calls.append(1)
            loss = own(self, *batch)
            return loss + ((loss * 0).sqrt() if len(calls) == 2 else 0)

    trainer = ContrastiveTrainer(checkpoint, loss=Steep(), config=changed(save_interval_s=0, num_epochs=4))
    with pytest.raises(TrainingError, match=r"gradients of step 2 is (nan|inf); its batch.*step-2.jsonl"):
        trainer.train(PAIRS, state=tmp_path / "state")
    assert all(torch.isfinite(value).all() for value in weights(trainer.encoder).values())
    assert (tmp_path / "state" / "checkpoint-1").is_dir()


@pytest.mark.parametrize("steps", [1, 3])
def test_weights_that_are_not_finite_are_never_saved(checkpoint: Path, tmp_path: Path, steps: int) -> None:
    config = changed(learning_rate=1e39, schedule="constant", num_epochs=steps, save_interval_s=0)
    trainer = ContrastiveTrainer(checkpoint, config=config)
    with pytest.raises(TrainingError, match="weights are no longer finite after step 1; its batch"):
        trainer.train(PAIRS, state=tmp_path / "state")
    assert not list((tmp_path / "state").glob("checkpoint-*"))
    with pytest.raises(TrainingError, match="call train first"):
        trainer.save(tmp_path / "tuned")


def test_weights_spoiled_by_a_step_are_not_blamed_on_the_next_batch(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = changed(learning_rate=1e39, schedule="constant", num_epochs=3)
    with pytest.raises(TrainingError, match="weights are no longer finite after step 1; its batch"):
        ContrastiveTrainer(checkpoint, config=config).train(PAIRS)


def test_pairs_of_one_text_teach_nothing(checkpoint: Path) -> None:
    pairs = [Pair(anchor=f"cat {i}", positive="red") for i in "abc"]
    with pytest.raises(DataError, match=r"'pairs' has 3 and loss infonce.* at least 2 pairs of different"):
        trained(checkpoint, pairs)


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
