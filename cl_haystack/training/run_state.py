"""The folder that an interrupted run goes on from, and whether it belongs to this run."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cl_haystack.errors import TrainingError
from cl_haystack.training.config import TrainingConfig
from cl_haystack.training.loop import newest_state
from cl_haystack.training.training_set import TrainingSet

_RUN_FILE = "run.json"
_MAY_DIFFER = {"save_interval_s", "num_workers"}  # none of these changes the weights


def describe_run(
    base_weights: str, config: TrainingConfig, sets: Sequence[TrainingSet], num_devices: int
) -> dict[str, Any]:
    """Return all that decides which weights a run ends in.

    :param base_weights: digest of the base model's tensors.
    :param config: options of the loop.
    :param sets: the data sets.
    :param num_devices: devices that train together.
    """
    return {
        "base model": base_weights,
        "configuration": config.model_dump(mode="json", exclude=_MAY_DIFFER),
        "training data": [hashlib.sha256(s.pairs.texts.flat.tobytes()).hexdigest() for s in sets],
        "losses": [s.loss.describe() for s in sets],
        "number of devices": num_devices,
    }


def open_state(folder: Path, run: dict[str, Any], *, resume: bool) -> Path | None:
    """Prepare a state folder.

    :param folder: created where it is missing.
    :param run: what :func:`describe_run` says of this run.
    :param resume: go on from the newest state, where there is one; otherwise states of an earlier run are
        removed.
    :returns: the state to go on from, or None to begin at the beginning.
    :raises TrainingError: the states are those of another run.
    """
    file = folder / _RUN_FILE
    state = newest_state(folder) if resume else None
    if state is not None:
        earlier = json.loads(file.read_text()) if file.is_file() else {}
        changed = [name for name, value in _plain(run).items() if earlier.get(name) != value]
        if changed:
            raise TrainingError(
                f"{folder} holds the state of another run: {', '.join(changed)} differ; repeat the command "
                "that was interrupted, or start anew without resuming"
            )
        return state
    if file.is_file():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(_plain(run), indent=2) + "\n", encoding="utf-8")
    return None


def _plain(run: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(run))
    return plain
