"""Two devices are one: gradients of a shared batch are those of the whole batch on one device."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from cl_haystack.training import gather, loop
from cl_haystack.training.collator import Prompting, ScheduledBatches
from cl_haystack.training.gather import gather_batch
from cl_haystack.training.loop import TrainedModel
from cl_haystack.training.losses import Batch, CoSENT, DistillKL, GISTEmbed, InfoNCE, Loss, Matryoshka
from cl_haystack.training.schedule import ScheduledBatch, share_of
from cl_haystack.training.training_set import TrainingSet
from tests.unit.training.processes import run_together
from tests.unit.training.runs import double_encoder, many_pairs

NUM_ROWS = 7  # four on one device, three on the other


def ragged(loss: Loss) -> TrainingSet:
    """Rows with two, one and no hard negatives, one of them of more weight."""
    pairs = many_pairs(NUM_ROWS, negatives=lambda i: (2, 0, 1)[i % 3])
    pairs[3] = pairs[3].model_copy(update={"weight": 3.0})
    return TrainingSet(pairs, loss=loss)


def graded() -> TrainingSet:
    pairs = many_pairs(NUM_ROWS)
    return TrainingSet(
        [p.model_copy(update={"score": (i * 3 % 7) / 7}) for i, p in enumerate(pairs)], loss=CoSENT()
    )


def taught() -> TrainingSet:
    """A teacher's scores of one to three candidates."""
    pairs = many_pairs(NUM_ROWS, negatives=lambda i: 1 + i % 2)
    scored = [
        p.model_copy(update={"candidate_scores": tuple(0.5 * j + i for j in range(1 + len(p.negatives)))})
        for i, p in enumerate(pairs)
    ]
    return TrainingSet(scored, loss=DistillKL())


SETS: dict[str, Any] = {
    "infonce": lambda: ragged(InfoNCE()),
    "learned scale": lambda: ragged(InfoNCE(learn_scale=True)),
    "matryoshka": lambda: ragged(Matryoshka(InfoNCE(), [16, 4])),
    "gist": lambda: ragged(GISTEmbed(scale=20)),
    "cosent": graded,
    "kl": taught,
}


def gradients(
    folder: Path, name: str, mini_batch_size: int | None, rank: int, num_devices: int
) -> tuple[Tensor, dict[str, Tensor], int]:
    """Return loss, gradients and number of synchronisations of one step."""
    encoder = double_encoder(folder / f"model-{rank}-of-{num_devices}")
    unused = InfoNCE(learn_scale=True)  # of another data set: it gets no gradient, and nobody waits for it
    training_set = SETS[name]()
    model = TrainedModel(encoder, [training_set.loss, unused], mini_batch_size).double()
    whole = ScheduledBatch(0, [4, 0, 6, 2, 5, 1, 3])
    prompting = Prompting(encoder.tokenizer, "query: ", "passage: ")
    (batch,) = ScheduledBatches([training_set], [share_of(whole, rank, num_devices)], prompting)
    facts = {
        name: fact.double() if fact.is_floating_point() else fact for name, fact in batch["facts"].items()
    }
    if name == "gist":
        guide = torch.nn.functional.normalize(torch.sin(torch.arange(60, dtype=torch.float64)).view(-1, 2))
        ids = torch.cat([facts["anchor_ids"], facts["candidate_ids"]]) % 30
        facts["guide_anchors"], facts["guide_candidates"] = guide[ids].split(
            [len(facts["anchor_ids"]), len(facts["candidate_ids"])]
        )
    synchronisations = 0
    trained: torch.nn.Module = model
    if num_devices > 1:
        trained = DistributedDataParallel(model, find_unused_parameters=True)

        def count(_: Any, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
            nonlocal synchronisations
            synchronisations += 1
            work = dist.all_reduce(bucket.buffer(), async_op=True)
            assert work is not None
            return work.get_future().then(lambda done: done.value()[0] / num_devices)

        trained.register_comm_hook(None, count)
    loss = trained(batch["texts"], facts, 0)
    loss.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return loss.detach(), found, synchronisations


def one_of_two(folder: Path, name: str, mini_batch_size: int | None, gathers: bool) -> None:
    rank = int(torch.distributed.init_process_group("gloo") or dist.get_rank())
    if not gathers:
        loop.gather_batch = lambda *own: own  # type: ignore[assignment]
    torch.save(gradients(folder, name, mini_batch_size, rank, 2), folder / f"gradients-{rank}")
    dist.destroy_process_group()


def both(folder: Path, name: str, mini_batch_size: int | None, *, gathers: bool = True) -> list[Any]:
    run_together(2, one_of_two, folder, name, mini_batch_size, gathers)
    return [torch.load(folder / f"gradients-{rank}") for rank in range(2)]


def largest_difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    return max(float((found[name] - expected[name]).abs().max()) for name in expected)


@pytest.mark.parametrize("mini_batch_size", [None, 2], ids=["at once", "in chunks"])
@pytest.mark.parametrize("name", SETS)
def test_gradients_of_two_devices_are_those_of_one(
    tmp_path: Path, name: str, mini_batch_size: int | None
) -> None:
    expected_loss, expected, _ = gradients(tmp_path, name, mini_batch_size, 0, 1)
    assert float(expected["encoder.transformer.encoder.layer.0.output.dense.weight"].abs().max()) > 1e-5
    for loss, found, synchronisations in both(tmp_path, name, mini_batch_size):
        torch.testing.assert_close(loss, expected_loss, rtol=1e-9, atol=1e-12)
        named = {name: gradient for name, gradient in found.items() if name in expected}
        torch.testing.assert_close(named, expected, rtol=1e-7, atol=1e-11)
        assert synchronisations == 1


@pytest.mark.parametrize("name", ["infonce", "cosent"])
def test_without_gathering_the_gradients_are_others(tmp_path: Path, name: str) -> None:
    """The canary: the test above would notice negatives that stay on their device."""
    _, expected, _ = gradients(tmp_path, name, None, 0, 1)
    (_, found, _), _ = both(tmp_path, name, None, gathers=False)
    assert largest_difference(found, expected) > 1e-3


def test_without_gradient_of_the_others_the_gradients_are_others(tmp_path: Path) -> None:
    """The canary of a gathering that forgets where the embeddings came from."""
    run_together(2, one_of_two_without_way_back, tmp_path)
    _, expected, _ = gradients(tmp_path, "infonce", None, 0, 1)
    _, found, _ = torch.load(tmp_path / "gradients-0")
    assert largest_difference(found, expected) > 1e-3


def one_of_two_without_way_back(folder: Path) -> None:
    def gather_detached(own: Tensor) -> list[Tensor]:
        parts = gather._gathered(own.detach())
        parts[dist.get_rank()] = own
        return parts

    gather._GatherWithGradient.apply = gather_detached  # type: ignore[method-assign]
    one_of_two(folder, "infonce", None, gathers=True)


def test_alone_a_batch_stays_what_it_is() -> None:
    batch = Batch.of_distinct_texts(2)
    anchors, candidates = torch.ones(2, 3), torch.zeros(2, 3)
    for found, given in zip(
        gather_batch(anchors, candidates, batch), (anchors, candidates, batch), strict=True
    ):
        assert found is given


def test_rows_keep_their_places(tmp_path: Path) -> None:
    """Positives first, negatives after them, owners and columns beside their rows."""
    run_together(2, gather_numbers, tmp_path)
    for rank in range(2):
        anchors, candidates, facts = torch.load(tmp_path / f"gathered-{rank}")
        assert anchors[:, 0].tolist() == [0, 1, 2, 10, 11]
        assert candidates[:, 0].tolist() == [100, 101, 102, 110, 111, 103, 104, 112]
        assert facts["owners"].tolist() == [0, 1, 2, 3, 4, 2, 0, 4]
        assert facts["anchor_ids"].tolist() == [0, 1, 2, 10, 11]
        assert facts["candidate_ids"].tolist() == [100, 101, 102, 110, 111, 103, 104, 112]
        assert facts["candidate_scores"].tolist() == [100, 101, 102, 110, 111, 103, 104, 112]
        assert facts["weights"].tolist() == [0.5, 1.5, 2.5, 10.5, 11.5]
        assert facts["scores"] is facts["guide_anchors"] is None


def gather_numbers(folder: Path) -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    rows = torch.arange(3 - rank) + 10 * rank
    texts = 100 + 10 * rank + torch.arange(5 - 2 * rank)
    batch = Batch(
        owners=torch.tensor([0, 1, 2, 2, 0] if rank == 0 else [0, 1, 1]),
        anchor_ids=rows,
        candidate_ids=texts,
        weights=rows + 0.5,
        candidate_scores=texts.float(),
    )
    anchors, candidates, gathered = gather_batch(
        rows[:, None].float().requires_grad_(), texts[:, None].float().requires_grad_(), batch
    )
    torch.save((anchors.detach(), candidates.detach(), vars(gathered)), folder / f"gathered-{rank}")
    dist.destroy_process_group()
