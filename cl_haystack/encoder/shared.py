"""One encoder a process for each bundle, however many components use it."""

import os
import threading
import weakref
from pathlib import Path

from cl_haystack.bundle import ModelBundle
from cl_haystack.encoder.encoder import Encoder
from cl_haystack.encoder.settings import Device

_shared: "weakref.WeakValueDictionary[tuple[object, ...], Encoder]" = weakref.WeakValueDictionary()
_shared_lock = threading.Lock()


def shared_encoder(
    path: str | Path,
    *,
    device: Device = "cpu",
    threads: int | None = None,
    truncate_dim: int | None = None,
) -> Encoder:
    """Return this process's encoder for a bundle, loading it if no component holds one yet.

    It lives as long as somebody holds it. A bundle that was replaced on disk is another bundle.

    :param path: the bundle's directory.
    :param device: ``cpu`` or ``cuda``.
    :param threads: threads of one run; None takes one a physical core.
    :param truncate_dim: keep only the first dimensions; None keeps all.
    :returns: one and the same encoder for the same arguments.
    :raises BundleError: the bundle is missing, damaged or unsafe.
    :raises EncodingError: the device cannot be used, or the model cannot be truncated there.
    """
    with _shared_lock:
        fingerprint = ModelBundle.load(path, verify=False).fingerprint
        key = (Path(path).resolve(), fingerprint, device, threads, truncate_dim)
        encoder = _shared.get(key)
        if encoder is None:
            encoder = _shared[key] = Encoder.load(
                path, device=device, threads=threads, truncate_dim=truncate_dim
            )
        return encoder


def _after_fork() -> None:
    """Another thread of the parent may have held the lock; the encoders see to themselves."""
    global _shared_lock
    _shared_lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)
