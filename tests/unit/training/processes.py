"""Training in processes of their own: killed, interrupted, or several together, on one machine.

A server process imports everything once and is forked for each of them, which takes milliseconds; it has run
no computation, so there are no threads that a fork could lose.
"""

import multiprocessing
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    ["tests.unit.training.processes", "cl_haystack.training", "transformers.trainer"]
)


def start(function: Callable[..., None], *arguments: Any, **environment: str) -> ForkServerProcess:
    """Start a function of a module in a process of its own, with one thread."""
    process = _SERVER.Process(target=_run, args=(function, arguments, environment), daemon=True)
    process.start()
    return process


def run(function: Callable[..., None], *arguments: Any, **environment: str) -> None:
    """Run a function in a process of its own to its end."""
    process = start(function, *arguments, **environment)
    process.join(120)
    assert process.exitcode == 0, f"the process ended with {process.exitcode}"


def run_together(number: int, function: Callable[..., None], *arguments: Any) -> None:
    """Run a function in several processes that find each other, as torchrun does it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(number)}
    processes = [
        start(function, *arguments, RANK=str(rank), LOCAL_RANK=str(rank), **common) for rank in range(number)
    ]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * number


def kill_at_file_event(number: int, folder: Path) -> None:
    """Make this process kill itself before its n-th change of a file or folder below a folder.

    What torch and safetensors write from C++ and Rust is not seen; the folders and names around it are.
    """
    seen = 0

    def watch(event: str, arguments: Sequence[Any]) -> None:
        nonlocal seen
        if event not in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"):
            return
        if event == "open" and not (isinstance(arguments[1], str) and set(arguments[1]) & set("wax")):
            return
        if str(folder) in str(arguments[0]):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def _run(function: Callable[..., None], arguments: Sequence[Any], environment: dict[str, str]) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    try:
        function(*arguments)
    except BaseException:
        traceback.print_exc()
        raise
