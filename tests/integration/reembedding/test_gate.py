"""The gate: a worse model does not take over."""

from pathlib import Path
from typing import Any

import pytest

from cl_haystack.data import RetrievalTask
from cl_haystack.errors import DataError, SpaceMismatchError
from cl_haystack.opensearch import Gate, reembed
from tests.reembedding_job import NEW, OLD, SpacedEncoder
from tests.reembedding_site import Site, documents

pytestmark = pytest.mark.integration


class BlurredEncoder(SpacedEncoder):
    """A worse model: it sees the length of a text alone."""

    def _encode(self, texts: Any, on_progress: Any) -> Any:
        return super()._encode(["x" * (len(text) % 5 + 1) for text in texts], on_progress)


def task_of(count: int) -> RetrievalTask:
    return RetrievalTask(
        name="tiny/test",
        corpus_path=Path("no/such/corpus"),
        num_documents=count,
        queries={f"q{number}": f"text number {number}" for number in range(count)},
        qrels={f"q{number}": {f"d{number}": 1} for number in range(count)},
    )


def test_the_gate_keeps_the_old_index_from_a_worse_model(site: Site) -> None:
    site.fill(documents(60))
    gate = Gate(task_of(60), SpacedEncoder(OLD))  # type: ignore[arg-type]
    report = reembed(site.open(NEW), BlurredEncoder(NEW), gate=gate)
    assert report.gate is not None
    assert (report.moved, report.removed, report.gate.passed, report.gate.verdict) == (
        False,
        False,
        False,
        "worse",
    )
    assert report.gate.high < -0.3
    assert report.gate.old > 0.95
    assert site.leads_to() == [site.old]
    assert not site.is_blocked(site.old)
    assert len(site.contents(site.new)) == 60
    assert reembed(site.open(NEW), BlurredEncoder(NEW), gate=gate, remove_refused=True).removed
    assert not site.client.indices.exists(index=site.new)
    allowed = Gate(task_of(60), SpacedEncoder(OLD), min_gain=-0.1)  # type: ignore[arg-type]
    report = reembed(site.open(NEW), SpacedEncoder(NEW), gate=allowed)
    assert report.moved
    assert report.gate is not None
    assert abs(report.gate.gain) < 0.1
    assert site.leads_to() == [site.new]


def test_a_gate_that_cannot_judge_is_refused_before_the_work(site: Site) -> None:
    site.fill(documents(10))
    encoder = SpacedEncoder(NEW)
    elsewhere = RetrievalTask(
        "other/test", Path("x"), 1, {"a": "x", "b": "y"}, {"a": {"z": 1}, "b": {"z": 1}}
    )
    with pytest.raises(
        DataError, match="holds none of the 1 documents that the gate's task other/test judges"
    ):
        reembed(site.open(NEW), encoder, gate=Gate(elsewhere, SpacedEncoder(OLD)))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="one question"):
        reembed(site.open(NEW), encoder, gate=Gate(task_of(1), SpacedEncoder(OLD)))  # type: ignore[arg-type]
    with pytest.raises(SpaceMismatchError):
        reembed(site.open(NEW), encoder, gate=Gate(task_of(9), SpacedEncoder(NEW)))  # type: ignore[arg-type]
    assert encoder.encoded == []
    assert site.lease_is_free()
