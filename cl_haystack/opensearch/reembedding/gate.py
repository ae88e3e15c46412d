"""The gate before an alias moves: both indices are asked the same judged questions, as a user would.

The new index passes if its nDCG@10 minus the old one's is not below the gain that is asked for. The paired
bootstrap says how sure the difference is; it does not decide, because a small set of questions would let
nothing pass, or everything.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_haystack.bundle import ModelBundle
from cl_haystack.errors import BundleError, ConfigurationError, DataError
from cl_haystack.opensearch.binding import IndexBinding
from cl_haystack.opensearch.connection import Connection
from cl_haystack.opensearch.index import OpenSearchIndex
from cl_haystack.opensearch.patience import Patience
from cl_haystack.opensearch.reembedding.aliases import ConcreteIndex, behind_alias
from cl_haystack.opensearch.reembedding.changes import ChangeReader

if TYPE_CHECKING:  # evaluation needs the extra [report], which serving has not
    from cl_haystack.data import RetrievalTask
    from cl_haystack.encoder import Encoder
    from cl_haystack.encoder.protocol import TextEncoder
    from cl_haystack.evaluation import RetrievalResult
    from cl_haystack.progress import OnProgress

METRIC = "ndcg@10"
_TOP_K = 10
_IDS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Gate:
    """What the new index has to show.

    :param task: judged questions, such as ``read_beir("scifact", "test")``; the ids of its documents are
        those of the index.
    :param old_encoder: the encoder of the model that the old index belongs to.
    :param min_gain: least nDCG@10 of the new index minus that of the old one; negative allows a loss.
    """

    task: "RetrievalTask"
    old_encoder: "Encoder"
    min_gain: float = 0.0


@dataclass(frozen=True, slots=True)
class GateResult:
    """What the questions showed.

    :param metric: what was measured.
    :param old: mean of the old index.
    :param new: mean of the new one.
    :param gain: ``new - old``.
    :param low: lower end of the gain's 95 % interval, by paired bootstrap.
    :param high: upper end.
    :param verdict: ``better``, ``worse`` or ``not distinguishable``.
    :param num_queries: questions asked.
    :param min_gain: what was asked for.
    :param passed: whether the gain is not below it.
    """

    metric: str
    old: float
    new: float
    gain: float
    low: float
    high: float
    verdict: str
    num_queries: int
    min_gain: float
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain types, for JSON."""
        return asdict(self)


def check_gate(gate: Gate, connection: Connection, old: ConcreteIndex, patience: Patience) -> None:
    """Say what is wrong with a gate before hours of work, not after.

    :param gate: the gate.
    :param connection: the server.
    :param old: the old index.
    :param patience: repeats requests.
    :raises SpaceMismatchError: the old encoder's model is not the one of the old index.
    :raises DataError: there are fewer than two questions, or the index holds none of their documents.
    :raises MissingExtraError: evaluation is not installed.
    """
    from cl_haystack.evaluation.metrics import require_pytrec_eval
    from cl_haystack.evaluation.significance import require_scipy

    require_pytrec_eval()
    require_scipy()
    _with_its_model(connection, old, gate).check(fresh=True)
    reader = ChangeReader(connection, old.name, patience)
    if len(gate.task.queries) < 2:
        raise DataError(f"the gate's task {gate.task.name} has one question, expected two or more")
    judged = sorted({document for grades in gate.task.qrels.values() for document in grades})
    starts = range(0, len(judged), _IDS_AT_ONCE)
    if not any(reader.count({"ids": {"values": judged[start : start + _IDS_AT_ONCE]}}) for start in starts):
        raise DataError(
            f"index '{old.name}' holds none of the {len(judged):,} documents that the gate's task "
            f"{gate.task.name} judges (such as '{judged[0]}'), so every model would score 0; give the task "
            "of this very corpus"
        )


def ask_gate(
    gate: Gate,
    old: ConcreteIndex,
    new: OpenSearchIndex,
    new_encoder: "TextEncoder",
    on_progress: "OnProgress",
) -> GateResult:
    """Ask both indices all questions.

    :param gate: what to ask, and what to expect.
    :param old: the old index.
    :param new: the new index.
    :param new_encoder: its model's encoder.
    :param on_progress: told the questions answered.
    :returns: the comparison.
    """
    from cl_haystack.evaluation import compare, evaluate_search
    from cl_haystack.evaluation.live import index_search

    def ask(index: OpenSearchIndex, encoder: "TextEncoder") -> "RetrievalResult":
        search = index_search(index, encoder, "dense")
        return evaluate_search(
            gate.task, search, label=index.name, top_k=_TOP_K, ks=(_TOP_K,), on_progress=on_progress
        )

    found = compare(
        ask(new, new_encoder).per_query,
        ask(_with_its_model(new.connection, old, gate), gate.old_encoder).per_query,
        METRIC,
    )
    gain = found.difference
    return GateResult(
        metric=METRIC,
        old=found.baseline_mean,
        new=found.mean,
        gain=gain.mean,
        low=gain.low,
        high=gain.high,
        verdict=found.verdict,
        num_queries=found.num_queries,
        min_gain=gate.min_gain,
        passed=gain.mean >= gate.min_gain,
    )


def _with_its_model(connection: Connection, old: ConcreteIndex, gate: Gate) -> OpenSearchIndex:
    cut = _truncated_to(old)
    return OpenSearchIndex(
        connection.client(),
        old.name,
        gate.old_encoder.bundle,
        settings={"truncate_dim": cut} if cut else None,
        require_binding=False,
    )


def _truncated_to(old: ConcreteIndex) -> int | None:
    binding = IndexBinding.read(old.mapping, old.name)
    return None if binding is None or binding.truncated_from is None else binding.dimension


def load_old_encoder(index: OpenSearchIndex, bundle: str | Path | None = None) -> "Encoder":
    """Load the encoder of the model that an alias belongs to now.

    :param index: the alias, with the new model.
    :param bundle: the old model's bundle; None looks for it beside the new one.
    :returns: the encoder, cut as the vectors of the index are.
    :raises ConfigurationError: no bundle is given, and none is found.
    :raises IndexingError: there is no such alias.
    """
    from cl_haystack.encoder import Encoder

    old = behind_alias(index.connection, index.name)
    binding = IndexBinding.read(old.mapping, old.name)
    if bundle is None:
        bundle = _find_bundle(None if binding is None else binding.space_id, index.bundle_path)
    return Encoder.load(bundle, truncate_dim=_truncated_to(old))


def _find_bundle(space_id: str | None, beside: Path) -> Path:
    folder = beside.resolve().parent
    for path in sorted(folder.iterdir()):
        try:
            if (path / "manifest.json").is_file() and ModelBundle.load(
                path, verify=False
            ).space_id == space_id:
                return path
        except BundleError:
            continue
    known = (
        "does not say which model it belongs to" if space_id is None else f"belongs to space {space_id[:8]}"
    )
    raise ConfigurationError(
        f"the gate asks the old index too, which needs the bundle of its model; the index {known}, and no "
        f"such bundle lies in {folder}: name it with --old-bundle"
    )
