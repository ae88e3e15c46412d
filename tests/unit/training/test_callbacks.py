"""Around the steps: when a state is due, what a signal does, how often the model is measured."""

import os
import signal
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import TrainerControl

from cl_haystack.training.callbacks import EvaluateEvenly, SaveAndStop, StopRequest, StopWithoutGain

ARGUMENTS: Any = SimpleNamespace(device=torch.device("cpu"))


def after_steps(callback: Any, steps: int, max_steps: int = 100) -> list[TrainerControl]:
    controls = []
    for step in range(1, steps + 1):
        controls.append(TrainerControl())
        callback.on_step_end(ARGUMENTS, SimpleNamespace(global_step=step, max_steps=max_steps), controls[-1])
    return controls


def test_a_state_is_due_when_its_time_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 1_000, 10))  # seconds: a step takes ten
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    callback = SaveAndStop(25, StopRequest())
    callback.on_train_begin(ARGUMENTS, SimpleNamespace(), TrainerControl())  # type: ignore[arg-type]
    controls = after_steps(callback, 9)
    saved = [step for step, control in enumerate(controls, start=1) if control.should_save]
    assert saved == [3, 6, 9]
    assert not any(control.should_training_stop for control in controls)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_save_and_stop_once_the_step_is_done(number: signal.Signals) -> None:
    stop = StopRequest()
    callback = SaveAndStop(1_000, stop)
    with stop.listening():
        assert not after_steps(callback, 1)[0].should_save
        os.kill(os.getpid(), number)
        (control,) = after_steps(callback, 1)
    assert (control.should_save, control.should_training_stop, stop.signal) == (True, True, number)


def test_a_second_ctrl_c_ends_at_once() -> None:
    def interrupted_twice() -> None:
        with StopRequest().listening():
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupted_twice()
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    stop, inside = StopRequest(), []

    def listen() -> None:
        with stop.listening():
            inside.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert inside == [before]


@pytest.mark.parametrize("max_steps", [1, 2, 7, 100])
@pytest.mark.parametrize("number", [1, 3, 10])
def test_evaluations_are_spread_evenly(max_steps: int, number: int) -> None:
    controls = after_steps(EvaluateEvenly(number), max_steps, max_steps)
    at = [step for step, control in enumerate(controls, start=1) if control.should_evaluate]
    assert len(at) == min(number, max_steps)
    assert at[-1] == max_steps
    gaps = [b - a for a, b in zip([0, *at], at, strict=False)]
    assert max(gaps) - min(gaps) <= 1
    assert all(control.should_save == control.should_evaluate for control in controls)


@pytest.mark.parametrize(
    ("values", "patience", "stops"),
    [
        ([0.1, 0.2, 0.3], 1, False),
        ([0.1, 0.2, 0.2], 1, True),  # as good is no better
        ([0.3, 0.1, 0.2], 3, False),
        ([0.3, 0.1, 0.2, 0.25], 3, True),
        ([0.3, 0.1, 0.4, 0.2], 2, False),
        ([0.1], 1, False),
    ],
)
def test_patience_counts_evaluations_since_the_best(values: list[float], patience: int, stops: bool) -> None:
    history = [entry for value in values for entry in ({"loss": 1.0}, {"eval_ndcg@10": value})]
    control = TrainerControl(should_save=True)
    StopWithoutGain(patience, "ndcg@10").on_evaluate(
        ARGUMENTS,
        SimpleNamespace(log_history=history),  # type: ignore[arg-type]
        control,
    )
    assert control.should_training_stop == stops
    assert control.should_save != stops
