"""Texts to vectors with a model bundle: tokenize, batch by length, run the graph, restore the order.

Pooling and normalization are in the graph; prefixes and the length limit come from the manifest.
"""

import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cl_haystack.bundle import ModelBundle
from cl_haystack.encoder.batching import token_budget_batches
from cl_haystack.encoder.protocol import Vectors
from cl_haystack.encoder.session import Device, open_session
from cl_haystack.encoder.tokenization import TextTokenizer, Tokenized
from cl_haystack.errors import BundleError, EncodingError
from cl_haystack.progress import OnProgress, Progress, ignore

if TYPE_CHECKING:
    import onnxruntime

TOKEN_BUDGET = 2048  # on two cores throughput is flat from 1,024 to 8,192; small keeps the memory small
_WINDOW_TEXTS = 4096  # tokenized at a time: enough to sort by length, little enough to hold


class Encoder:
    """Encodes with one ONNX session. Calls from several threads are safe.

    Empty and blank texts are not refused: like the torch model, the encoder returns the vector of the
    prefix and the special tokens alone.

    :param bundle: a loaded bundle.
    :param device: ``cpu`` or ``cuda``.
    :param threads: threads of one run; None takes one a physical core.
    """

    def __init__(self, bundle: ModelBundle, *, device: Device = "cpu", threads: int | None = None) -> None:
        self.bundle = bundle
        self._tokenizer = TextTokenizer.from_file(bundle.tokenizer_file, bundle.manifest.text.max_length)
        self._session: onnxruntime.InferenceSession | None = open_session(
            bundle.model_file, device=device, threads=threads
        )
        self._input_names = [entry.name for entry in self._session.get_inputs()]
        expected = bundle.manifest.graph
        found = [output.name for output in self._session.get_outputs()]
        if set(self._input_names) != set(expected.inputs) or expected.output not in found:
            raise BundleError(
                bundle.model_file,
                f"takes {self._input_names} and gives {found}, the manifest says {list(expected.inputs)} and "
                f"[{expected.output!r}]; export the bundle again",
            )

    @classmethod
    def load(
        cls,
        path: str | Path | ModelBundle,
        *,
        device: Device = "cpu",
        threads: int | None = None,
        verify: bool = True,
    ) -> "Encoder":
        """Open a bundle and its session.

        :param path: the bundle's directory, or a bundle loaded before.
        :param device: ``cpu`` or ``cuda``.
        :param threads: threads of one run; None takes one a physical core.
        :param verify: check the hashes of the files.
        :returns: an encoder, ready for use.
        :raises BundleError: the bundle is missing, damaged or unsafe.
        :raises EncodingError: the device cannot be used.
        """
        bundle = path if isinstance(path, ModelBundle) else ModelBundle.load(path, verify=verify)
        return cls(bundle, device=device, threads=threads)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.bundle.dimension

    def encode_queries(self, texts: Sequence[str], *, on_progress: OnProgress = ignore) -> Vectors:
        """Encode queries, with the bundle's query prefix.

        :param texts: any strings.
        :param on_progress: told the number of texts encoded so far.
        :returns: float32 ``(num_texts, dim)``, order kept.
        :raises TypeError: ``texts`` is one string, or an element is not a string.
        """
        return self._encode(texts, self.bundle.manifest.text.query_prefix, on_progress)

    def encode_documents(self, texts: Sequence[str], *, on_progress: OnProgress = ignore) -> Vectors:
        """Encode documents, with the bundle's document prefix.

        :param texts: any strings.
        :param on_progress: told the number of texts encoded so far.
        :returns: float32 ``(num_texts, dim)``, order kept.
        :raises TypeError: ``texts`` is one string, or an element is not a string.
        """
        return self._encode(texts, self.bundle.manifest.text.document_prefix, on_progress)

    def close(self) -> None:
        """Release the session; encoding afterwards raises EncodingError."""
        self._session = None

    def _encode(self, texts: Sequence[str], prefix: str, on_progress: OnProgress) -> Vectors:
        if isinstance(texts, str | bytes):
            raise TypeError(
                f"texts is one {type(texts).__name__}, expected a list of strings: wrap it in [ ]"
            )
        vectors: Vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        done = 0
        for start in range(0, len(texts), _WINDOW_TEXTS):
            window = self._tokenizer.tokenize(texts[start : start + _WINDOW_TEXTS], prefix)
            for batch in self._batches(window):
                vectors[[start + position for position in batch]] = self._run([window[i] for i in batch])
                done += len(batch)
                on_progress(Progress(done, len(texts)))
        return vectors

    def _batches(self, window: Sequence[Tokenized]) -> Iterator[list[int]]:
        """Group texts that may run together; one text a run where the bundle's precision needs that.

        Dynamic int8 takes one activation scale for the whole batch, so a text's vector would depend on its
        batch mates; alone it does not, and on a CPU that costs almost nothing.
        """
        if self.bundle.precision == "int8":
            return ([position] for position in range(len(window)))
        return token_budget_batches([len(text.ids) for text in window], TOKEN_BUDGET)

    def _run(self, batch: Sequence[Tokenized]) -> Vectors:
        session = self._session
        if session is None:
            raise EncodingError("the encoder is closed; load it again with Encoder.load")
        shape = (len(batch), max(len(text.ids) for text in batch))  # (batch, tokens)
        inputs = {name: np.zeros(shape, dtype=np.int64) for name in self._input_names}
        for row, text in enumerate(batch):
            filled = slice(0, len(text.ids))
            inputs["input_ids"][row, filled] = text.ids
            inputs["attention_mask"][row, filled] = 1
            if "token_type_ids" in inputs:
                inputs["token_type_ids"][row, filled] = text.type_ids
        (vectors,) = session.run([self.bundle.manifest.graph.output], inputs)
        if vectors.shape != (len(batch), self.dimension):
            raise BundleError(
                self.bundle.model_file,
                f"gives vectors of {vectors.shape[-1]} dimensions, the manifest says {self.dimension}; "
                "export the bundle again",
            )
        return np.asarray(vectors, dtype=np.float32)


_shared: "weakref.WeakValueDictionary[tuple[object, ...], Encoder]" = weakref.WeakValueDictionary()
_shared_lock = threading.Lock()


def shared_encoder(path: str | Path, *, device: Device = "cpu", threads: int | None = None) -> Encoder:
    """Return this process's encoder for a bundle, loading it if no component holds one yet.

    It lives as long as somebody holds it. A bundle that was replaced on disk is another bundle.

    :param path: the bundle's directory.
    :param device: ``cpu`` or ``cuda``.
    :param threads: threads of one run; None takes one a physical core.
    :returns: one and the same encoder for the same arguments.
    :raises BundleError: the bundle is missing, damaged or unsafe.
    :raises EncodingError: the device cannot be used.
    """
    with _shared_lock:
        fingerprint = ModelBundle.load(path, verify=False).fingerprint
        key = (Path(path).resolve(), fingerprint, device, threads)
        encoder = _shared.get(key)
        if encoder is None:
            encoder = _shared[key] = Encoder.load(path, device=device, threads=threads)
        return encoder
