"""Texts to vectors with a model bundle: tokenize, run the graph, restore the order.

Pooling and normalization are in the graph; prefixes and the length limit come from the manifest.
"""

import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cl_haystack.bundle import ModelBundle
from cl_haystack.encoder.engine import Engine
from cl_haystack.encoder.gathering import QueryGatherer
from cl_haystack.encoder.openvino_engine import OpenVinoEngine
from cl_haystack.encoder.openvino_engine import is_faster as openvino_is_faster
from cl_haystack.encoder.protocol import Vectors
from cl_haystack.encoder.quantized_vectors import as_bits, as_int8, int8_scale
from cl_haystack.encoder.query_cache import QueryCache
from cl_haystack.encoder.runs import Runner
from cl_haystack.encoder.session import OnnxRuntimeEngine
from cl_haystack.encoder.settings import Device, EncoderSettings, EngineName, InferencePrecision
from cl_haystack.encoder.tokenization import TextTokenizer, Tokenized, check_text
from cl_haystack.encoder.windows import one_ahead, text_windows
from cl_haystack.errors import BundleError, EncodingError, quote
from cl_haystack.progress import OnProgress, Progress, ignore

Kind = Literal["query", "document"]

_MAX_CACHED_CALL = 32  # queries; larger calls are jobs and evaluations, which would push out what people ask


class Encoder:
    """Encodes with one session of onnxruntime, or of OpenVINO.

    On a CPU, the same text gets the bit-identical vector alone, in any batch, in any order and from any
    thread, with int8 bundles too. The promise holds for one machine, one version of the runtime and one set
    of settings; elsewhere the last bits may differ. On CUDA texts share padded batches, and the last bits
    depend on them.

    Any string can be encoded. Lone surrogates count as U+FFFD, NUL reaches the tokenizer as any character
    does. Empty and blank texts are not refused: like the torch model, the encoder returns the vector of the
    prefix and the special tokens alone; only where a tokenizer adds none, a text without tokens is an
    EncodingError. Very long texts cost no more than ``max_length`` tokens (see
    :mod:`cl_haystack.encoder.tokenization` for what is read of them).

    Calls from several threads are safe and share the cores; asyncio has :meth:`encode_query_async`, which
    encodes together what arrives while others are encoded.

    After a fork the child opens its own session at its first call; let it end with ``os._exit``, as
    multiprocessing does, because onnxruntime 1.32 hangs in the ordinary exit of a child that was forked after
    it was imported, used or not. A pickled encoder holds no weights: it opens the bundle again at the other
    side.

    :param bundle: a loaded bundle.
    :param settings: how to open it.
    :raises BundleError: the graph is not the one that the manifest describes.
    :raises EncodingError: the device cannot be used, or ``truncate_dim`` is none of the model's.
    """

    def __init__(self, bundle: ModelBundle, settings: EncoderSettings = EncoderSettings()) -> None:  # noqa: B008 (frozen)
        self.bundle = bundle
        self.settings = settings
        if problem := bundle.truncation_problem(settings.truncate_dim):
            raise EncodingError(problem)
        self._tokenizer = TextTokenizer.from_file(bundle.tokenizer_file, bundle.manifest.text.max_length)
        self._closed = False
        self._runner: Runner | None = None
        self._forget()
        self._open()
        _encoders.add(self)

    @classmethod
    def load(
        cls,
        path: str | Path | ModelBundle,
        *,
        device: Device = "cpu",
        threads: int | None = None,
        affinity: Sequence[int] | None = None,
        spinning: bool = False,
        memory_arena: bool = True,
        engine: EngineName = "onnxruntime",
        inference_precision: InferencePrecision | None = None,
        truncate_dim: int | None = None,
        query_cache_size: int = 1024,
        micro_batch_window_s: float = 0.0,
        verify: bool = True,
    ) -> "Encoder":
        """Open a bundle and its session.

        :param path: the bundle's directory, or a bundle loaded before.
        :param device: ``cpu`` or ``cuda``.
        :param threads: threads of one run; None takes one a physical core.
        :param affinity: logical processors that onnxruntime's threads are tied to; None ties none.
        :param spinning: let threads wait actively; see :class:`EncoderSettings` for when.
        :param memory_arena: let onnxruntime keep the memory of a run for the next one.
        :param engine: ``onnxruntime``, ``openvino`` or ``auto``; see :class:`EncoderSettings`.
        :param inference_precision: number format in which OpenVINO multiplies, ``f32`` or ``bf16``.
        :param truncate_dim: keep only the first dimensions, one of the manifest's ``matryoshka_dimensions``.
        :param query_cache_size: most queries whose vectors are kept; 0 keeps none.
        :param micro_batch_window_s: how long a single query waits for others; see :class:`EncoderSettings`.
        :param verify: check the hashes of the files.
        :returns: an encoder, ready for use.
        :raises BundleError: the bundle is missing, damaged or unsafe.
        :raises EncodingError: the device or another setting cannot be used.
        :raises MissingExtraError: the engine is not installed.
        """
        bundle = path if isinstance(path, ModelBundle) else ModelBundle.load(path, verify=verify)
        settings = EncoderSettings(
            device=device,
            threads=threads,
            affinity=None if affinity is None else tuple(affinity),
            spinning=spinning,
            memory_arena=memory_arena,
            engine=engine,
            inference_precision=inference_precision,
            truncate_dim=truncate_dim,
            query_cache_size=query_cache_size,
            micro_batch_window_s=micro_batch_window_s,
        )
        return cls(bundle, settings)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.settings.truncate_dim or self.bundle.dimension

    def encode_queries(self, texts: Sequence[str], *, on_progress: OnProgress = ignore) -> Vectors:
        """Encode queries, with the bundle's query prefix.

        The vectors of the last queries are kept; calls of more than 32 go past that cache.

        :param texts: any strings.
        :param on_progress: told the number of texts encoded so far.
        :returns: float32 ``(num_texts, dim)``, order kept; the caller's own.
        :raises TypeError: ``texts`` is one string, or an element is not a string.
        :raises EncodingError: the encoder is closed, or a text has no tokens at all, not even special ones.
        """
        _check_texts(texts)
        if len(texts) != 1 or not self.settings.micro_batch_window_s:
            return self._encode_queries(texts, on_progress)
        vector = self._gatherer.vector(texts[0], self._encode_queries)
        on_progress(Progress(1, 1))
        return vector[np.newaxis].copy()

    async def encode_query_async(self, text: str) -> Vectors:
        """Encode one query without holding up the event loop, with those that others ask for meanwhile.

        :param text: any string.
        :returns: float32 ``(dim,)``, the same bits as from :meth:`encode_queries`; the caller's own.
        :raises TypeError: ``text`` is not a string.
        :raises EncodingError: the encoder is closed, or the text has no tokens at all.
        """
        check_text(text, 0)
        vector = await self._gatherer.vector_async(text, self._encode_queries)
        return vector.copy()

    def _encode_queries(self, texts: Sequence[str], on_progress: OnProgress = ignore) -> Vectors:
        """Look up what was asked before, and encode the rest."""
        cache = self._query_cache
        if not 0 < len(texts) <= _MAX_CACHED_CALL or not self.settings.query_cache_size:
            return self._encode(texts, self._prefix("query"), on_progress)
        rows = cache.find(texts)
        new = [text for text in dict.fromkeys(texts) if text not in rows]
        if new or self._closed:
            vectors = zip(new, self._encode(new, self._prefix("query"), ignore), strict=True)
            rows |= (encoded := {text: row.copy() for text, row in vectors})
            cache.keep(encoded.items())
        on_progress(Progress(len(texts), len(texts)))
        return np.stack([rows[text] for text in texts])

    def encode_documents(self, texts: Sequence[str], *, on_progress: OnProgress = ignore) -> Vectors:
        """Encode documents, with the bundle's document prefix.

        :param texts: any strings.
        :param on_progress: told the number of texts encoded so far.
        :returns: float32 ``(num_texts, dim)``, order kept.
        :raises TypeError: ``texts`` is one string, or an element is not a string.
        :raises EncodingError: the encoder is closed, or a text has no tokens at all, not even special ones.
        """
        _check_texts(texts)
        return self._encode(texts, self._prefix("document"), on_progress)

    def encode_stream(self, texts: Iterable[str], *, kind: Kind = "document") -> Iterator[Vectors]:
        """Encode a stream of any length in bounded memory.

        :param texts: any iterable of strings, also an endless one; it is read in the calling thread, one
            block ahead of what is being encoded.
        :param kind: which prefix the texts get.
        :returns: an iterator over blocks of some dozens of vectors (on CUDA at most 4,096), float32
            ``(texts in the block, dim)``, in the order of the texts.
        :raises TypeError: ``texts`` is one string, or an element is not a string; its position is named.
        :raises EncodingError: the encoder is closed, or ``kind`` is unknown.
        """
        _refuse_one_string(texts)
        if not isinstance(texts, Iterable):
            raise TypeError(f"texts is a {type(texts).__name__}, expected an iterable of strings")
        return self._blocks(texts, self._prefix(kind))

    def quantize(self, vectors: Vectors, to: Literal["int8", "binary"]) -> NDArray[np.int8]:
        """Turn this model's vectors into bytes, for a byte or a binary index.

        :param vectors: ``(num_texts, dim)``, as encoded.
        :param to: ``int8``, with the scale in the manifest's ``calibration``, or ``binary``, packed signs.
        :returns: int8 ``(num_texts, dim)``, or ``(num_texts, dim / 8)``.
        :raises EncodingError: the bundle has no scale, ``dim`` is not a multiple of 8, or ``to`` is unknown.
        """
        if to == "binary":
            return as_bits(vectors)
        if to != "int8":
            raise EncodingError(f"vectors cannot be quantized to {to!r}, expected 'int8' or 'binary'")
        return as_int8(vectors, int8_scale(self.bundle, vectors.shape[1]))

    def close(self) -> None:
        """Release the session; encoding afterwards raises EncodingError. Closing twice is fine."""
        with self._lock:
            self._closed = True
            self._runner = None

    def __enter__(self) -> "Encoder":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (str(self.bundle.path.resolve()), self.bundle.fingerprint, self.settings)

    def _prefix(self, kind: Kind) -> str:
        text = self.bundle.manifest.text
        prefixes = {"query": text.query_prefix, "document": text.document_prefix}
        if kind not in prefixes:
            raise EncodingError(f"kind is {kind!r}, expected 'query' or 'document'")
        return prefixes[kind]

    def _encode(self, texts: Sequence[str], prefix: str, on_progress: OnProgress) -> Vectors:
        vectors: Vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        done = 0
        for block in self._blocks(texts, prefix):
            vectors[done : done + len(block)] = block
            done += len(block)
            on_progress(Progress(done, len(texts)))
        return vectors

    def _blocks(self, texts: Iterable[str], prefix: str) -> Iterator[Vectors]:
        runner = self._open()
        windows = text_windows(texts, runner.window_texts)
        for window in one_ahead(windows, lambda window: self._tokenize(window, prefix)):
            yield self._truncate(runner.run_all(window))

    def _tokenize(self, texts: Sequence[str], prefix: str) -> list[Tokenized]:
        tokenized = self._tokenizer.tokenize(texts, prefix)
        for text, tokens in zip(texts, tokenized, strict=True):
            if not tokens.ids:
                raise EncodingError(
                    f"the text {quote(text)} has no tokens, and this model's tokenizer adds none of its own: "
                    "there is nothing to encode; leave such texts out"
                )
        return tokenized

    def _truncate(self, vectors: Vectors) -> Vectors:
        if self.settings.truncate_dim is None:
            return vectors
        shortened: Vectors = vectors[:, : self.settings.truncate_dim].copy()  # (num_texts, truncate_dim)
        if self.bundle.manifest.embedding.normalize:
            for row in shortened:  # one by one: numpy may sum many rows in another order than one
                row /= max(np.linalg.norm(row), np.finfo(np.float32).tiny)
        return shortened

    def _open(self) -> Runner:
        """Return what runs the graph, opening the session where this process has none yet."""
        runner = self._runner
        if runner is None:
            with self._lock:
                if self._closed:
                    raise EncodingError("the encoder is closed; load it again with Encoder.load")
                if self._runner is None:
                    self._runner = Runner(
                        _open_engine(self.bundle, self.settings), self.bundle, self.settings
                    )
                runner = self._runner
        return runner

    def _forget(self) -> None:
        """Drop what belongs to one process: the session, and locks that another thread may have held."""
        if self._runner is not None:
            _left_by_parents.append(self._runner)
        self._runner = None
        self._lock = threading.Lock()
        self._query_cache = QueryCache(self.settings.query_cache_size)
        self._gatherer = QueryGatherer(self.settings.micro_batch_window_s)


_encoders: "weakref.WeakSet[Encoder]" = weakref.WeakSet()
_left_by_parents: list[Runner] = []
"""Sessions whose threads exist in the parent alone: never used, never released, which would wait."""


def _open_engine(bundle: ModelBundle, settings: EncoderSettings) -> Engine:
    """Open the engine that was asked for; with ``auto``, the faster one."""
    precision = settings.inference_precision
    if settings.engine == "openvino":
        return OpenVinoEngine(bundle.model_file, settings, precision or "f32")
    if settings.engine == "auto" and settings.device == "cpu" and openvino_is_faster(bundle.precision):
        return OpenVinoEngine(bundle.model_file, settings, precision or "bf16")
    return OnnxRuntimeEngine(bundle.model_file, settings, dynamic_int8=bundle.precision == "int8")


def _after_fork() -> None:
    for encoder in _encoders:
        encoder._forget()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)


def _reopen(path: str, fingerprint: str, settings: EncoderSettings) -> Encoder:
    """Open a pickled encoder's bundle again."""
    bundle = ModelBundle.load(path)
    if bundle.fingerprint != fingerprint:
        raise BundleError(
            path,
            f"holds {bundle.label} now, another one than when the encoder was pickled; "
            "load the encoder again with Encoder.load",
        )
    return Encoder(bundle, settings)


def _refuse_one_string(texts: object) -> None:
    if isinstance(texts, str | bytes):
        raise TypeError(f"texts is one {type(texts).__name__}, expected a list of strings: wrap it in [ ]")


def _check_texts(texts: Sequence[str]) -> None:
    """Refuse the list before anything of it is encoded."""
    _refuse_one_string(texts)
    if not isinstance(texts, Sized):
        raise TypeError(
            f"texts is a {type(texts).__name__}, expected a list of strings; encode_stream takes any iterable"
        )
    for position, text in enumerate(texts):
        check_text(text, position)
