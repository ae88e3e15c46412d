"""The encoder behind a component: loaded at the first use, one session a process for each bundle."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from haystack.utils import ComponentDevice

from cl_haystack.encoder import Encoder, Vectors, shared_encoder
from cl_haystack.errors import ConfigurationError
from cl_haystack.progress import OnProgress, ignore


class ComponentEncoder:
    """Holds this process's encoder of a bundle from the first use until ``close``.

    :param bundle: the bundle's directory.
    :param device: where to run; None is the CPU.
    :param truncate_dim: keep only the first dimensions of a vector; None keeps all.
    """

    def __init__(
        self, bundle: str | Path, device: ComponentDevice | None, truncate_dim: int | None = None
    ) -> None:
        if not isinstance(bundle, str | Path):
            raise TypeError(
                f"bundle is a {type(bundle).__name__}, expected the path of a bundle's directory, such as "
                "ModelBundle.path"
            )
        self.bundle_path = Path(bundle)
        self._device = session_device(device)
        self._truncate_dim = truncate_dim
        self._encoder: Encoder | None = None
        self._lock = threading.Lock()

    def load(self) -> Encoder:
        """Return the encoder, loading it if nobody in this process has done so."""
        with self._lock:
            if self._encoder is None:
                self._encoder = shared_encoder(
                    self.bundle_path, device=self._device, truncate_dim=self._truncate_dim
                )
            return self._encoder

    async def load_async(self) -> Encoder:
        """Do what :meth:`load` does without holding up the event loop."""
        encoder = self._encoder  # a pipeline asks before every run
        return await asyncio.to_thread(self.load) if encoder is None else encoder

    def close(self) -> None:
        """Let go of the encoder; its session ends with the last component that holds it."""
        with self._lock:
            self._encoder = None

    def encode_queries(self, texts: Sequence[str], *, on_progress: OnProgress = ignore) -> Vectors:
        """Return one vector a query."""
        return self.load().encode_queries(texts, on_progress=on_progress)

    async def encode_query_async(self, text: str) -> Vectors:
        """Return the vector of one query, encoded together with those that others ask for meanwhile."""
        encoder = await self.load_async()
        return await encoder.encode_query_async(text)

    def encode_documents(self, texts: Sequence[str], *, on_progress: OnProgress = ignore) -> Vectors:
        """Return one vector a document."""
        return self.load().encode_documents(texts, on_progress=on_progress)


def session_device(device: ComponentDevice | None) -> Literal["cpu", "cuda"]:
    """Return the encoder's word for a Haystack device.

    :param device: None is the CPU.
    :returns: ``cpu`` or ``cuda``.
    :raises ConfigurationError: the encoder does not run there.
    """
    if device is None:
        return "cpu"
    if not isinstance(device, ComponentDevice):
        raise TypeError(
            f"device is a {type(device).__name__}, expected a ComponentDevice, such as "
            "ComponentDevice.from_str('cpu')"
        )
    name = "a device map" if device.has_multiple_devices else device.to_torch_str()
    if name == "cpu":
        return "cpu"
    if name in ("cuda", "cuda:0"):
        return "cuda"
    raise ConfigurationError(
        f"the encoder runs on cpu or cuda:0, not on {name}; choose another GPU with CUDA_VISIBLE_DEVICES"
    )
