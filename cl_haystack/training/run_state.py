"""The folder that an interrupted run goes on from, and whether it belongs to this run."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cl_haystack.data import RetrievalTask
from cl_haystack.errors import CheckpointError, TrainingError
from cl_haystack.training.config import TrainingConfig
from cl_haystack.training.loop import STATE_PREFIX, newest_state
from cl_haystack.training.training_set import TrainingSet

_RUN_FILE = "run.json"
_MAY_DIFFER = {"save_interval_s", "num_workers"}  # none of these changes the weights


def describe_run(
    base_weights: str,
    guide_weights: str | None,
    config: TrainingConfig,
    sets: Sequence[TrainingSet],
    task: RetrievalTask | None,
    num_devices: int,
) -> dict[str, Any]:
    """Return all that decides which weights a run ends in.

    :param base_weights: digest of the base model's tensors.
    :param guide_weights: digest of those of the guide or teacher model; None where no loss needs one.
    :param config: options of the loop.
    :param sets: the data sets.
    :param task: what chooses the best weights.
    :param num_devices: devices that train together.
    :returns: values in plain types, by what they are.
    """
    run = {
        "base model": base_weights,
        "guide model": guide_weights,
        "configuration": config.model_dump(mode="json", exclude=_MAY_DIFFER),
        "training data": [s.given.digest for s in sets],
        "passes over the training data": [s.num_epochs for s in sets],
        "losses": [_without_learned(s.loss.describe()) for s in sets],
        "evaluation task": None if task is None else _digest_of_task(task),
        "number of devices": num_devices,
    }
    plain: dict[str, Any] = json.loads(json.dumps(run))
    return plain


def open_state(folder: Path, run: dict[str, Any], *, resume: bool) -> Path | None:
    """Prepare a state folder.

    :param folder: created where it is missing.
    :param run: what :func:`describe_run` says of this run.
    :param resume: go on from the newest state, where there is one; otherwise states of an earlier run are
        removed, and nothing else.
    :returns: the state to go on from, or None to begin at the beginning.
    :raises TrainingError: the states are those of another run.
    :raises CheckpointError: the folder cannot be written.
    """
    file = folder / _RUN_FILE
    state = newest_state(folder) if resume else None
    if state is not None:
        earlier = _read(file)
        changed = [name for name, value in run.items() if earlier.get(name) != value]
        if changed:
            raise TrainingError(
                f"{folder} holds the state of another run: {', '.join(changed)} differ; repeat the command "
                "that was interrupted, or start anew without resuming"
            )
        return state
    try:
        for outdated in folder.glob(f"{STATE_PREFIX}*"):  # first, so that none is ever taken for this run's
            shutil.rmtree(outdated)
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CheckpointError(folder, f"cannot hold the states of training ({error})") from error
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        run: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return run


def _digest_of_task(task: RetrievalTask) -> str:
    asked = json.dumps([task.num_documents, task.queries, task.qrels], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()


def _without_learned(description: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a loss has learned so far, which a state brings back; losses may hold losses."""
    return {
        name: _without_learned(value) if isinstance(value, dict) else value
        for name, value in description.items()
        if name != "learned_scale"
    }
