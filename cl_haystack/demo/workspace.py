"""Steps that are run once and reused for as long as what they depend on stays the same.

A step names its inputs; their digest is written, with the step's result, after its outputs are complete. A
later run with the same digest and the outputs in place takes the result from the file. A step that was
interrupted has written nothing, so it runs again.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock, Timeout

from cl_haystack import __version__
from cl_haystack.data import write_beside
from cl_haystack.errors import ConfigurationError
from cl_haystack.progress import OnProgress

Facts = dict[str, Any]
Watch = Callable[[str], AbstractContextManager[OnProgress]]
"""Given a step's title, shows its progress for as long as the block runs."""


@dataclass(frozen=True)
class FinishedStep:
    """One step of the circle, done.

    :param title: what it does, for people.
    :param summary: what came out, in a few words.
    :param seconds: how long it took when it ran.
    :param reused: whether an earlier run's outputs were taken.
    """

    title: str
    summary: str
    seconds: float
    reused: bool


class Workspace:
    """A folder with the outputs of the steps, used by one process at a time.

    :param folder: made if it does not exist.
    :param watch: shows the progress of a step.
    :param on_finished: told each step when it is done.
    """

    def __init__(self, folder: Path, *, watch: Watch, on_finished: Callable[[FinishedStep], None]) -> None:
        self.folder = folder
        self.steps: list[FinishedStep] = []
        self._watch = watch
        self._on_finished = on_finished
        self._lock = FileLock(folder / ".lock")

    def __enter__(self) -> "Workspace":
        (self.folder / "steps").mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ConfigurationError(
                f"{self.folder} is in use by another run; wait for it, or choose another folder with --out"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def step(
        self,
        name: str,
        title: str,
        *,
        inputs: Facts | None,
        outputs: Sequence[Path] = (),
        still_there: Callable[[], bool] = lambda: True,
        action: Callable[[OnProgress], Facts],
        summary: Callable[[Facts], str],
    ) -> Facts:
        """Run a step, or take what an earlier run left.

        :param name: name of the file that remembers the step.
        :param title: what it does, for people.
        :param inputs: everything that the result depends on, as plain types; None runs the step every time.
        :param outputs: files or folders that must still be there.
        :param still_there: checks outputs that are no files, such as an index.
        :param action: does the work and returns facts, as plain types.
        :param summary: says what came out.
        :returns: the facts.
        """
        record_file = self.folder / "steps" / f"{name}.json"
        digest = None if inputs is None else _digest({"inputs": inputs, "version": __version__})
        record = _read(record_file) if digest else None
        if record and record["digest"] == digest and all(p.exists() for p in outputs) and still_there():
            self._finish(FinishedStep(title, summary(record["facts"]), record["seconds"], reused=True))
            return dict(record["facts"])
        record_file.unlink(missing_ok=True)
        started = time.perf_counter()
        with self._watch(title) as on_progress:
            facts = action(on_progress)
        seconds = time.perf_counter() - started
        with write_beside(record_file) as file:
            file.write(orjson.dumps({"digest": digest, "seconds": seconds, "facts": facts}))
        self._finish(FinishedStep(title, summary(facts), seconds, reused=False))
        return facts

    def _finish(self, step: FinishedStep) -> None:
        self.steps.append(step)
        self._on_finished(step)


def _digest(value: Facts) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _read(file: Path) -> dict[str, Any] | None:
    try:
        record = orjson.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and {"digest", "seconds", "facts"} <= record.keys() else None
