"""What the export costs in retrieval: the same questions with judged answers, to torch and to the bundle."""

from pathlib import Path

from cl_haystack.bundle.manifest import Quality
from cl_haystack.data import RetrievalTask, read_beir
from cl_haystack.encoder import TextEncoder
from cl_haystack.evaluation import evaluate_retrieval, paired_bootstrap
from cl_haystack.evaluation.metrics import require_pytrec_eval
from cl_haystack.evaluation.significance import metric_values, require_scipy

METRIC = "ndcg@10"


def read_task(directory: Path, split: str) -> RetrievalTask:
    """Read a task, and say what is missing for it before the minutes that an export takes.

    :param directory: corpus.jsonl, queries.jsonl, qrels/.
    :param split: which judgements: ``qrels/SPLIT.tsv``.
    :returns: questions, judgements, corpus.
    :raises DataError: a file cannot be read.
    :raises MissingExtraError: evaluation is not installed.
    """
    require_pytrec_eval()
    require_scipy()
    return read_beir(directory, split)


def measure_quality(task: RetrievalTask, reference: TextEncoder, exported: TextEncoder) -> Quality:
    """Evaluate both models by exact search.

    :param task: questions, judgements, corpus.
    :param reference: the torch model, whose value is the one before.
    :param exported: the bundle's encoder.
    :returns: nDCG@10 of the bundle with its 95 % interval over the questions, and the torch model's.
    """
    before = evaluate_retrieval(task, reference)
    after = evaluate_retrieval(task, exported)
    interval = paired_bootstrap(metric_values(after.per_query, METRIC))
    return Quality(
        dataset=task.name,
        metric=METRIC,
        value=interval.mean,
        ci95=(interval.low, interval.high),
        before=before.metrics[METRIC],
    )
