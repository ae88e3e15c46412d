"""Two identities of a model.

``space_id`` says whose vectors may be compared: the checkpoint's weights, pooling, normalization, prefixes
and similarity. The fp32 and int8 exports of one checkpoint share it.
``fingerprint`` says what determines the bytes of a vector: the space, the files, the precision, the length.

Both are the first 32 hexadecimal digits of a SHA-256 over canonical JSON (sorted keys, no spaces, UTF-8).
The weights enter by tensor (name, type, shape, bytes), not by file, so re-saving a checkpoint or sharding it
changes nothing.
"""

import hashlib
import json
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cl_haystack.bundle.manifest import Embedding, FileEntry, Text
from cl_haystack.errors import CheckpointError

_HEADER_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors format itself
SHORT_ID_CHARS = 8


def _identity(facts: dict[str, Any]) -> str:
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def space_id(weights: str, embedding: Embedding, text: Text) -> str:
    """Return the identity of the vector space.

    :param weights: digest of the checkpoint's tensors, from :func:`weights_digest`.
    :param embedding: pooling, normalization, similarity and dimension.
    :param text: the prefixes; the length limit does not count.
    :returns: 32 hexadecimal digits.
    """
    return _identity(
        {
            "weights": weights,
            "dimension": embedding.dimension,
            "pooling": embedding.pooling,
            "normalize": embedding.normalize,
            "similarity": embedding.similarity,
            "query_prefix": text.query_prefix,
            "document_prefix": text.document_prefix,
        }
    )


def fingerprint(space: str, files: dict[str, FileEntry], precision: str, max_length: int) -> str:
    """Return the identity of the bytes of a vector.

    :param space: the ``space_id``.
    :param files: hashes of the files that compute vectors: the graph and the tokenizer.
    :param precision: ``fp32``, ``int8``, …
    :param max_length: length limit in tokens.
    :returns: 32 hexadecimal digits.
    """
    return _identity(
        {
            "space_id": space,
            "files": {name: entry.sha256 for name, entry in files.items()},
            "precision": precision,
            "max_length": max_length,
        }
    )


def weights_digest(checkpoint: Path) -> str:
    """Return a digest of all tensors in the safetensors files of a folder.

    :param checkpoint: folder that holds ``model.safetensors`` or its shards.
    :returns: 64 hexadecimal digits, independent of file layout and of metadata.
    :raises CheckpointError: there is no safetensors file, or one is damaged.
    """
    files = sorted(checkpoint.glob("*.safetensors"))
    if not files:
        raise CheckpointError(
            checkpoint, "holds no *.safetensors weights; convert the checkpoint to safetensors first"
        )
    tensors = sorted(digest for file in files for digest in _tensor_digests(file))
    return hashlib.sha256("\n".join(tensors).encode()).hexdigest()


def file_entry(path: Path) -> FileEntry:
    """Hash and measure a file."""
    # Read, 90 MB take 71 ms of processor time; mapped 61, but a mapped file that is cut short meanwhile ends
    # the process (SIGBUS).
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return FileEntry(sha256=digest, bytes=stream.tell())


def _tensor_digests(file: Path) -> Iterator[str]:
    """Yield one line a tensor: name, type, shape, SHA-256 of its bytes.

    Format: https://huggingface.co/docs/safetensors — eight bytes little-endian header length, a JSON header,
    then the data that the header's offsets point into. Read here with the standard library because serving
    has no safetensors package.
    """
    with file.open("rb") as stream:
        size = file.stat().st_size
        header_length = int.from_bytes(stream.read(_HEADER_LENGTH_BYTES), "little")
        data_start = _HEADER_LENGTH_BYTES + header_length
        if not 0 < header_length <= min(size, _MAX_HEADER_BYTES) or data_start > size:
            raise CheckpointError(file, "is not a safetensors file (its header length is out of range)")
        try:
            header = json.loads(stream.read(header_length))
        except ValueError as error:
            raise CheckpointError(file, "is not a safetensors file (its header is not JSON)") from error
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for name, facts in header.items():
                if name == "__metadata__":
                    continue
                begin, end = facts["data_offsets"]
                if not 0 <= begin <= end <= size - data_start:
                    raise CheckpointError(file, f"is truncated: tensor {name!r} lies beyond its end")
                with memoryview(data) as view, view[data_start + begin : data_start + end] as tensor:
                    digest = hashlib.sha256(tensor).hexdigest()
                yield f"{name} {facts['dtype']} {facts['shape']} {digest}"
