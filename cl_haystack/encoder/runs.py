"""Tokenized texts to vectors: which texts share a run, and the runs themselves.

The same text gets the bit-identical vector whatever is encoded with it. On a CPU each text runs alone and
unpadded: in a batch, onnxruntime sums the pooling in another order than for one text, and dynamic int8 takes
one activation scale for the whole batch. That costs nothing from about 64 tokens on, at 32 tokens a tenth
(fp32) to a quarter (int8) of the time, at 8 tokens a half. Where the manifest promises that rows do not
depend on each other, short texts of equal length share a run and get that back.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue

import numpy as np

from cl_haystack.bundle import ModelBundle
from cl_haystack.encoder.batching import equal_length_batches, token_budget_batches
from cl_haystack.encoder.engine import Engine
from cl_haystack.encoder.protocol import Vectors
from cl_haystack.encoder.settings import EncoderSettings
from cl_haystack.encoder.tokenization import Tokenized
from cl_haystack.encoder.vectors import check_finite
from cl_haystack.errors import BundleError

_TOKEN_BUDGET = 512  # of unpadded batches; throughput is flat from here on, and small keeps the memory small
_PADDED_TOKEN_BUDGET = 16_384  # on a GPU, which small batches leave idle
_MAX_SHARED_TOKENS = 32  # longer texts gain nothing from sharing a run
# A window is what is tokenized at a time. Enough for each thread, so that none waits long for the last of a
# window, and for texts of one length to meet; more is no faster on a CPU and holds memory. On a GPU a window
# is sorted by length, and the longer it is the less is padded.
_WINDOW_TEXTS_A_RUN = 16
_WINDOW_TEXTS_TO_SHARE = 128
_PADDED_WINDOW_TEXTS = 4096


class Runner:
    """Runs windows of tokenized texts, several runs at a time.

    :param engine: the graph.
    :param bundle: says which inputs and output the graph has, and what it promises.
    :param settings: the device, and how many runs go on at a time.
    :raises BundleError: the graph is not the one that the manifest describes.
    """

    def __init__(self, engine: Engine, bundle: ModelBundle, settings: EncoderSettings) -> None:
        expected, found = bundle.manifest.graph, engine.output_names
        if set(engine.input_names) != set(expected.inputs) or expected.output not in found:
            raise BundleError(
                bundle.model_file,
                f"takes {engine.input_names} and gives {found}, the manifest says {list(expected.inputs)} "
                f"and [{expected.output!r}]; export the bundle again",
            )
        self._engine = engine
        self._bundle = bundle
        # On a CPU a run needs the cores for its products alone and leaves them idle between those: as many
        # runs as threads fill the gaps. More, from however many callers, would only hold memory.
        self._num_runs = settings.num_threads if settings.device == "cpu" else 1
        self._slots = threading.BoundedSemaphore(self._num_runs)
        self._pads = settings.device != "cpu"
        self._shares = bundle.manifest.numerics.batch_invariant and bundle.precision != "int8"

    @property
    def window_texts(self) -> int:
        """Number of texts to pass to ``run_all`` at a time."""
        if self._pads:
            return _PADDED_WINDOW_TEXTS
        return max(_WINDOW_TEXTS_A_RUN * self._num_runs, _WINDOW_TEXTS_TO_SHARE if self._shares else 0)

    def run_all(self, texts: Sequence[Tokenized]) -> Vectors:
        """Compute one row a text, ``(num_texts, dim)``, in the order given."""
        vectors: Vectors = np.empty((len(texts), self._bundle.dimension), dtype=np.float32)
        waiting: SimpleQueue[list[int]] = SimpleQueue()
        for batch in self._batches([len(text.ids) for text in texts]):
            waiting.put(batch)

        def work() -> None:
            try:
                while batch := waiting.get_nowait():
                    vectors[batch] = self._run([texts[position] for position in batch])
            except Empty:
                return

        num_workers = min(self._num_runs, waiting.qsize())
        if num_workers < 2:
            work()
            return vectors
        with ThreadPoolExecutor(num_workers, thread_name_prefix="encode") as pool:
            workers = [pool.submit(work) for _ in range(num_workers)]
        for worker in workers:
            worker.result()
        return vectors

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Group texts that may share a run, longest first, so that no worker ends long after the others."""
        if self._pads:
            return token_budget_batches(lengths, _PADDED_TOKEN_BUDGET)
        return equal_length_batches(lengths, _TOKEN_BUDGET, _MAX_SHARED_TOKENS if self._shares else 0)

    def _run(self, batch: Sequence[Tokenized]) -> Vectors:
        shape = (len(batch), max(len(text.ids) for text in batch))  # (batch, tokens)
        inputs = {name: np.zeros(shape, dtype=np.int64) for name in self._engine.input_names}
        for row, text in enumerate(batch):
            filled = slice(0, len(text.ids))
            inputs["input_ids"][row, filled] = text.ids
            inputs["attention_mask"][row, filled] = 1
            if "token_type_ids" in inputs:
                inputs["token_type_ids"][row, filled] = text.type_ids
        try:
            with self._slots:
                vectors = self._engine.run(inputs, self._bundle.manifest.graph.output)
        except Exception as error:  # the engines' own share no other base
            raise BundleError(
                self._bundle.model_file,
                f"cannot be run on texts of {shape[1]} tokens ({error}); unless memory ran out, export again",
            ) from error
        if vectors.shape != (len(batch), self._bundle.dimension):
            raise BundleError(
                self._bundle.model_file,
                f"gives vectors of {vectors.shape[-1]} dimensions, the manifest says "
                f"{self._bundle.dimension}; export the bundle again",
            )
        check_finite(vectors)
        return vectors
