"""What happens around the steps: telling progress, saving now and then, stopping when asked to."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from cl_haystack.progress import OnProgress, Progress
from cl_haystack.training.arguments import BEST_METRIC
from cl_haystack.training.config import TrainingConfig


class TellProgress(TrainerCallback):
    """Tells each step, with loss, speed and the newest metric.

    :param on_progress: told.
    :param pairs_done: pairs of the first n steps.
    """

    def __init__(self, on_progress: OnProgress, pairs_done: Callable[[int], int]) -> None:
        self._on_progress = on_progress
        self._pairs_done = pairs_done
        self._metric = ""
        self._first_step = 0
        self._started = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Note where the run begins: at the first step, or where it was interrupted."""
        self._first_step, self._started = state.global_step, time.perf_counter()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Tell a step."""
        logs = logs or {}
        if "eval_ndcg@10" in logs:
            self._metric = f", nDCG@10 {logs['eval_ndcg@10']:.3f}"
        if "loss" not in logs:
            return
        seconds = time.perf_counter() - self._started
        pairs = self._pairs_done(state.global_step) - self._pairs_done(self._first_step)
        rate = pairs / max(seconds, 1e-9)  # last in the note: what a narrow terminal cuts off
        note = f"loss {logs['loss']:.3f}{self._metric}, {rate:.1f} pairs/s"
        self._on_progress(Progress(state.global_step, state.max_steps, note))


class EvaluateEvenly(TrainerCallback):
    """Evaluates several times, evenly spread over the run, the last time at its end.

    :param num_evaluations: how often; a run of fewer steps evaluates at each.
    """

    def __init__(self, num_evaluations: int) -> None:
        self._num_evaluations = num_evaluations

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Ask for an evaluation, and for a state with the weights that it measured, where it is time."""
        last, this = (
            self._num_evaluations * step // state.max_steps
            for step in (state.global_step - 1, state.global_step)
        )
        if this > last:
            control.should_evaluate = control.should_save = True
        return control


class StopWithoutGain(TrainerCallback):
    """Stops when evaluations in a row are no better than the best before them.

    It counts what the run's history tells, so that an interrupted run stops where it would have stopped.

    :param patience: how many evaluations.
    :param metric: what is compared; more is better.
    """

    def __init__(self, patience: int, metric: str) -> None:
        self._patience = patience
        self._metric = f"eval_{metric}"

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Ask to stop where it is time."""
        values = [entry[self._metric] for entry in state.log_history if self._metric in entry]
        if len(values) - 1 - values.index(max(values)) >= self._patience:
            control.should_training_stop = True
            control.should_save = False  # nobody shall go on from here
        return control


class SaveAndStop(TrainerCallback):
    """Saves a state when enough time has passed, and saves and stops when a signal asks to.

    :param interval_s: seconds between two saved states.
    :param stop: tells whether to stop.
    """

    def __init__(self, interval_s: float, stop: "StopRequest") -> None:
        self._interval_s = interval_s
        self._stop = stop
        self._last = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Begin the first interval."""
        self._last = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Ask for a state where it is time."""
        due = time.monotonic() - self._last >= self._interval_s
        due_anywhere, number = _largest((int(due), self._stop.signal or 0), args.device)
        if number:
            self._stop.signal = signal.Signals(number)  # also where it did not arrive
            control.should_training_stop = True
        if due_anywhere or number:
            control.should_save = True
            self._last = time.monotonic()
        return control


class StopRequest:
    """The signal that asked a run to stop, once there was one."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM and Ctrl-C as requests while the block runs; a second Ctrl-C ends it at once."""
        try:
            before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
            for number in before:
                signal.signal(number, self._note)
        except ValueError:  # not the main thread: signals are not ours there
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)


def saving_and_stopping(
    config: TrainingConfig, stop: StopRequest | None, *, evaluates: bool
) -> list[TrainerCallback]:
    """Return what saves, evaluates and stops a run where it is time.

    :param config: how often, and with which patience.
    :param stop: tells whether to stop; None where no states are saved on the way.
    :param evaluates: whether the model is measured during training.
    :returns: the callbacks.
    """
    callbacks: list[TrainerCallback] = []
    if stop is not None:
        callbacks.append(SaveAndStop(config.save_interval_s, stop))
    if evaluates:
        callbacks.append(EvaluateEvenly(config.evaluations))
    if evaluates and config.patience is not None:
        callbacks.append(StopWithoutGain(config.patience, BEST_METRIC))
    return callbacks


def _largest(wishes: tuple[int, ...], device: torch.device) -> tuple[int, ...]:
    """Let all devices do what one of them wants: they save and stop together or not at all."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return wishes
    votes = torch.tensor(wishes, device=device)
    dist.all_reduce(votes, op=dist.ReduceOp.MAX)
    return tuple(votes.tolist())
