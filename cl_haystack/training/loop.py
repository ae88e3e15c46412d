"""The training loop: ``transformers.Trainer`` with our batches, losses, evaluation and saved states.

What people know of it stays as they know it (mixed precision, accumulation, schedules, callbacks, torchrun,
resuming). Ours is: a step embeds all texts of a batch at once and hands the embeddings of all devices to the
batch's loss; the whole run is one pass over a prepared schedule; a saved state is written beside and renamed,
so that the newest state in the folder is always whole.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from cl_haystack.errors import CheckpointError
from cl_haystack.training.collator import PackedTexts, ScheduledBatches, TrainingBatch, as_batch
from cl_haystack.training.evaluation import Evaluate
from cl_haystack.training.gather import gather_batch
from cl_haystack.training.losses import Loss
from cl_haystack.training.model import SentenceEncoder
from cl_haystack.training.not_finite import NotFiniteError

STATE_PREFIX = "checkpoint-"
_TRAINER_STATE = "trainer_state.json"
# The other kind gives no gradient to adapters, since the frozen embeddings before them have none.
_NOT_REENTRANT = {"use_reentrant": False}


class TrainedModel(nn.Module):
    """What the loop trains: the encoder, and the parameters of the losses.

    :param encoder: gives embeddings.
    :param losses: one a data set; several sets may share one.
    :param mini_batch_size: see :func:`~cl_haystack.training.chunks.embed_in_chunks`.
    """

    def __init__(
        self, encoder: SentenceEncoder, losses: Sequence[Loss], mini_batch_size: int | None = None
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.losses = nn.ModuleList(dict.fromkeys(losses))  # a state holds each once
        self._loss_of = losses
        self._mini_batch_size = mini_batch_size

    def forward(self, texts: PackedTexts, facts: dict[str, Tensor], training_set: int) -> Tensor:
        """Embed the texts of a batch and take its loss.

        All of it happens here, because distributed training looks for what has a gradient in what this
        returns: a learned temperature, too.

        :param texts: anchors, then candidates.
        :param facts: what else is known of the rows.
        :param training_set: whose loss it is.
        :returns: the loss of the batches of all devices, a scalar.
        """
        embeddings = self.encoder.embed(**texts, mini_batch_size=self._mini_batch_size)  # (texts, dim)
        num_anchors = len(facts["anchor_ids"])
        with torch.autocast(embeddings.device.type, enabled=False):
            anchors, candidates, batch = gather_batch(
                embeddings[:num_anchors], embeddings[num_anchors:], as_batch(facts)
            )
            loss: Tensor = self._loss_of[training_set](anchors, candidates, batch)
        return loss

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: dict[str, Any] | None, **more: Any
    ) -> None:
        """Pass the loop's options on to the transformer."""
        options = _NOT_REENTRANT | (gradient_checkpointing_kwargs or {})
        self.encoder.transformer.gradient_checkpointing_enable(options, **more)

    def activation_checkpointing_enable(
        self, activation_checkpointing_kwargs: dict[str, Any] | None, **more: Any
    ) -> None:
        """Do the same; its name since transformers 5.23."""
        options = _NOT_REENTRANT | (activation_checkpointing_kwargs or {})
        self.encoder.transformer.activation_checkpointing_enable(options, **more)


class TrainingLoop(Trainer):
    """Runs a schedule.

    :param model: what is trained.
    :param args: of transformers' trainer.
    :param batches: this device's batches, in order.
    :param optimizer: what moves the weights.
    :param guide: embeds texts for losses that need a guide or teacher; not trained.
    :param evaluate: measures the encoder; None where there is no task.
    :param callbacks: of transformers' trainer.
    """

    def __init__(
        self,
        model: TrainedModel,
        args: TrainingArguments,
        *,
        batches: ScheduledBatches,
        optimizer: torch.optim.Optimizer,
        guide: SentenceEncoder | None = None,
        evaluate: Evaluate | None = None,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        self._batches = batches
        self._trained = model
        self._guide = guide
        self._measure = evaluate
        super().__init__(
            model=model,
            args=args,
            train_dataset=batches,
            eval_dataset=[] if evaluate else None,
            optimizers=(optimizer, None),
            callbacks=list(callbacks),
        )
        remove: Any = self.remove_callback  # untyped in transformers
        remove(PrinterCallback)

    def get_train_dataloader(self) -> DataLoader[TrainingBatch]:
        """Return the batches as they are scheduled: already shuffled, grouped, and shared among devices."""
        return DataLoader(
            self._batches,
            batch_sampler=[[step] for step in range(len(self._batches))],
            collate_fn=_only,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.device.type == "cuda",
        )

    def compute_loss(  # type: ignore[override]  # our batches are more than a dict of tensors
        self,
        model: nn.Module,
        inputs: TrainingBatch,
        return_outputs: bool = False,  # noqa: FBT001, FBT002 - as transformers has it
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Take the loss of a batch.

        :param model: the trained model, possibly wrapped for several devices.
        :param inputs: the batch.
        :param return_outputs: also return what evaluation would look at: nothing.
        :param num_items_in_batch: not used: losses are means.
        :returns: the loss.
        :raises NotFiniteError: the loss is not finite.
        """
        facts = inputs["facts"] | self._guide_vectors(inputs)
        loss = model(inputs["texts"], facts, inputs["training_set"])
        if not torch.isfinite(loss):
            self.check_weights()  # what the step before spoiled is no fault of this batch
            step = self.state.global_step + 1
            raise NotFiniteError(step, f"the loss of step {step} is {loss.item()}")
        return (loss, {}) if return_outputs else loss

    def training_step(self, *args: Any, **options: Any) -> Tensor:
        """Add the gradients of a batch, and refuse a step with gradients that are not finite.

        In fp16 the scaler expects such gradients and leaves those steps out.

        :param *args: as transformers has them.
        :param **options: as transformers has them.
        :returns: the batch's loss.
        :raises NotFiniteError: a gradient is not finite.
        """
        loss: Tensor = super().training_step(*args, **options)
        # To clip, transformers takes this norm again, and no hook tells it before the weights move: 4 ms of a
        # step of 2.4 s (MiniLM, 32 pairs, one core, torch 2.15).
        if self.accelerator.sync_gradients and self.accelerator.scaler is None:
            gradients = [weight.grad for weight in self._trained.parameters() if weight.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
            if not torch.isfinite(norm):
                step = self.state.global_step + 1
                raise NotFiniteError(step, f"the norm of the gradients of step {step} is {norm.item()}")
        return loss

    def check_weights(self) -> None:
        """Refuse weights that training has spoiled.

        :raises NotFiniteError: a weight is not finite after the last step.
        """
        step = self.state.global_step
        if step and not all(bool(torch.isfinite(weight).all()) for weight in self._trained.parameters()):
            raise NotFiniteError(step, f"weights are no longer finite after step {step}")

    @torch.no_grad()
    def _guide_vectors(self, inputs: TrainingBatch) -> dict[str, Tensor]:
        if inputs["guide_texts"] is None or self._guide is None:
            return {}
        vectors = self._guide.embed(**inputs["guide_texts"]).float()  # (texts, guide_dim)
        num_anchors = len(inputs["facts"]["anchor_ids"])
        return {"guide_anchors": vectors[:num_anchors], "guide_candidates": vectors[num_anchors:]}

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
        """Measure the encoder as it is now, tell the callbacks, and return the metrics."""
        if self._measure is None:
            return {}
        was_training = self._trained.training
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in self._measure().items()}
        self._trained.train(was_training)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Write a state beside its place, rename it, and drop the states that nobody needs any more."""
        self.check_weights()
        folder = Path(str(self.args.output_dir))
        name = f"{STATE_PREFIX}{self.state.global_step}"
        draft = folder / "draft"
        if self.args.should_save:
            shutil.rmtree(draft, ignore_errors=True)
        self.accelerator.wait_for_everyone()  # every device writes its own random state into the draft
        self.args.output_dir = str(draft)
        write: Any = super()._save_checkpoint  # untyped in transformers
        try:
            write(model, trial)
        except (OSError, SafetensorError, RuntimeError) as error:  # torch makes a RuntimeError of a full disk
            shutil.rmtree(draft, ignore_errors=True)
            raise CheckpointError(folder, _not_saved(folder, error)) from error
        finally:
            self.args.output_dir = str(folder)
        self.accelerator.wait_for_everyone()
        if self.state.best_global_step:
            best = folder / f"{STATE_PREFIX}{self.state.best_global_step}"
            self.state.best_model_checkpoint = str(best)
        if self.args.should_save:
            self.state.save_to_json(str(draft / name / _TRAINER_STATE))
            shutil.rmtree(folder / name, ignore_errors=True)
            (draft / name).replace(folder / name)
            draft.rmdir()
            self._drop_old_states(folder, keep={name, Path(self.state.best_model_checkpoint or "").name})
        self.accelerator.wait_for_everyone()

    def _drop_old_states(self, folder: Path, keep: set[str]) -> None:
        for state in folder.glob(f"{STATE_PREFIX}*"):
            if state.name not in keep:
                shutil.rmtree(state, ignore_errors=True)


def _only(batches: list[TrainingBatch]) -> TrainingBatch:
    (batch,) = batches  # the schedule has made batches of rows already
    return batch


def newest_state(folder: Path) -> Path | None:
    """Return the state that an interrupted run goes on from, or None."""
    last_checkpoint: Any = get_last_checkpoint  # untyped in transformers
    last = last_checkpoint(str(folder)) if folder.is_dir() else None
    return None if last is None else Path(last)


def _not_saved(folder: Path, error: Exception) -> str:
    last = newest_state(folder)
    kept = f"the state of {last.name} is still there" if last else "no earlier state was saved"
    return f"the state of training cannot be written ({error}); {kept}: make room and resume"
