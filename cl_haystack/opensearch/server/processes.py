"""End processes, politely first."""

from collections.abc import Sequence
from contextlib import suppress

import psutil

KILL_WAIT_S = 10


def stop_processes(processes: Sequence[psutil.Process], *, grace_s: float) -> None:
    """End processes and wait until they are gone.

    :param processes: to end, all at the same time.
    :param grace_s: seconds between SIGTERM and SIGKILL; 0 kills at once.
    """
    alive = list(processes)
    if grace_s > 0:
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        _, alive = psutil.wait_procs(alive, timeout=grace_s)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=KILL_WAIT_S)
