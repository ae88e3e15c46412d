"""A smaller corpus for a task: enough to see during training whether a model gets better."""

from pathlib import Path
from random import Random

import orjson

from cl_haystack.data.beir import RetrievalTask
from cl_haystack.data.records import CorpusDocument
from cl_haystack.data.writing import write_beside


def pool_task(task: RetrievalTask, path: Path, *, num_documents: int, seed: int = 42) -> RetrievalTask:
    """Keep the judged documents and a random sample of the others.

    Figures on a pool are higher than on the whole corpus and compare only with figures on the same pool.

    :param task: the task.
    :param path: where the smaller corpus is written, as JSONL.
    :param num_documents: documents to keep; all judged ones are, even if they are more.
    :param seed: of the sample.
    :returns: the task with the smaller corpus; the same task where its corpus is no larger.
    """
    if task.num_documents <= num_documents:
        return task
    judged = {document for grades in task.qrels.values() for document in grades}
    others = [document.id for document in task.corpus() if document.id not in judged]
    num_others = max(0, num_documents - (task.num_documents - len(others)))
    kept = judged | set(Random(seed).sample(others, min(num_others, len(others))))  # noqa: S311
    count = 0
    with write_beside(path) as file:
        for document in task.corpus():
            if document.id in kept:
                file.write(orjson.dumps(_record(document), option=orjson.OPT_APPEND_NEWLINE))
                count += 1
    return RetrievalTask(
        name=f"{task.name} ({count:,} documents)",
        corpus_path=path,
        num_documents=count,
        queries=task.queries,
        qrels=task.qrels,
        oddities=task.oddities,
    )


def _record(document: CorpusDocument) -> dict[str, str]:
    return {"_id": document.id, "title": document.title, "text": document.text}
