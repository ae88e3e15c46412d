"""A corpus that was indexed with fp32 or fp16 vectors is queried by the int8 bundle, and added to by it."""

import inspect
import itertools
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from haystack import Document

from cl_haystack.encoder import Encoder
from cl_haystack.opensearch import OpenSearchIndex, index_documents
from tests.tiny_model import make_tiny_checkpoint

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_an_fp32_index_serves_the_int8_bundle_of_the_same_checkpoint(
    base_model: Path, base_bundle: Path, tmp_path: Path, make_index: Callable[..., OpenSearchIndex]
) -> None:
    from cl_haystack.export import export_bundle

    small = export_bundle(base_model, tmp_path / "int8", precision="int8")
    functions = inspect.getmembers(statistics, inspect.isfunction)
    texts = {name: text for name, function in functions if (text := inspect.getdoc(function))}
    documents = [Document(id=name, content=text) for name, text in texts.items()]
    questions = ["middle value of the data", "how far values spread around their mean", "most common value"]
    with Encoder.load(base_bundle) as fp32, Encoder.load(small) as int8:
        assert fp32.bundle.fingerprint != int8.bundle.fingerprint
        index = make_index(fp32.bundle)
        index_documents(documents, index, fp32)
        edge = make_index(int8.bundle)
        for question, mine, theirs in zip(
            questions, int8.encode_queries(questions), fp32.encode_queries(questions), strict=True
        ):
            found, expected = edge.search(mine, top_k=5), index.search(theirs, top_k=5)
            assert len({d.id for d in found} & {d.id for d in expected}) >= 4, question
        index_documents([Document(id="new", content="written at the edge")], edge, int8)
        binding = make_index(int8.bundle).open()
        assert binding is not None
        assert binding.precision == "fp32"
        assert set(binding.fingerprints.values()) == {"fp32", "int8"}
        client = edge.connection.client()
        client.indices.put_mapping(index=edge.name, body={"_meta": {}})  # as a stock index is
        (report,) = edge.adopt(int8)
    assert report.sampled > 15
    assert report.min_cosine < report.lowest_cosine < 0.99999, report


def test_an_fp16_index_serves_the_int8_bundle_of_the_same_checkpoint(
    tmp_path: Path, make_index: Callable[..., OpenSearchIndex]
) -> None:
    from cl_haystack.export import export_bundle

    checkpoint = make_tiny_checkpoint(tmp_path / "checkpoint")
    half, small = (
        export_bundle(checkpoint, tmp_path / precision, name="tiny", precision=precision)
        for precision in ("fp16", "int8")
    )
    texts = [" ".join(words) for words in itertools.permutations(["cat", "dog", "red", "blue", "house"], 3)]
    with Encoder.load(half) as fp16, Encoder.load(small) as int8:
        index_documents([Document(id=text, content=text) for text in texts], make_index(fp16.bundle), fp16)
        edge = make_index(int8.bundle)
        vectors = int8.encode_queries(texts)
        found = [edge.search(vector, top_k=5) for vector in vectors]
        hits = sum(text in {document.id for document in top} for text, top in zip(texts, found, strict=True))
        assert hits >= 0.9 * len(texts)
        binding = edge.open()
        assert binding is not None
        assert binding.precision == "fp16"
