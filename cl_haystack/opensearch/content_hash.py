"""What tells an unchanged document before it is embedded: a hash, stored with the document.

The hash covers the stored form (content and meta), the model, and how its text is put together. Where it is
equal, and what is stored now is still what it was made of, writing again would change nothing; the second is
looked at because an update by somebody else keeps the hash.

It lies in ``_source`` under a name that Haystack reserves and forgets when it reads a document, so no
component takes it for meta. A field that is left out of ``_source`` would be hidden better, but the server
then keeps a second, whole source for replicas that catch up, with the vector as text: 5.4 MB for 1,000
documents of 384 dimensions instead of 2.0 (OpenSearch 3.6).
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

HASH_FIELD = "id_hash_keys"
HASH_MAPPING: dict[str, Any] = {"type": "keyword", "index": False, "doc_values": False}
_FORMAT = 1
_DIGEST_BYTES = 16


class ContentHasher:
    """Hashes documents that are written by one model with one way of putting texts together.

    :param fingerprint: of the bundle that embeds.
    :param texts: how the text is put together, in any form that differs where that does.
    """

    def __init__(self, fingerprint: str, texts: str) -> None:
        common = orjson.dumps([_FORMAT, fingerprint, texts])
        self._start = hashlib.blake2b(common, digest_size=_DIGEST_BYTES)

    def hash(self, source: bytes, embedding: Sequence[float] | None, routing: str | None = None) -> str:
        """Return the hash of one document, 32 hexadecimal digits.

        :param source: what :func:`~cl_haystack.opensearch.documents.source_json` returned: keys sorted.
        :param embedding: the vector that the document itself carries; None where its text is embedded.
        :param routing: shard routing value, if any.
        :returns: the hash.
        """
        digest = self._start.copy()
        digest.update(orjson.dumps([len(source), routing]))
        digest.update(source)
        if embedding is not None:
            digest.update(np.asarray(embedding, dtype=np.float32).tobytes())
        return digest.hexdigest()


def keeps_hashes(mapping: dict[str, Any]) -> bool:
    """Return whether an index stores hashes: those that this version made do."""
    return bool(mapping.get("properties", {}).get(HASH_FIELD) == HASH_MAPPING)
