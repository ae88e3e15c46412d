"""The Haystack pipelines of the demo: written as YAML, run by an interpreter that knows nothing of us."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haystack import Pipeline
from haystack.components.builders import PromptBuilder

from cl_haystack.data import write_beside
from cl_haystack.demo.live import Role
from cl_haystack.errors import CLHaystackError
from cl_haystack.opensearch import OpenSearchIndex
from haystack_integrations.components.embedders.cl_haystack import CLTextEmbedder
from haystack_integrations.components.retrievers.cl_haystack import CLOpenSearchRetriever

_PROMPT = """\
Answer the question with the documents below.
{% for document in documents %}
[{{ loop.index }}] {{ document.content }}
{% endfor %}
Question: {{ question }}
"""

# Nothing of ours is imported here: Haystack finds the components through the YAML alone.
_RUNNER = """\
import json, sys
from haystack import Pipeline
request = json.load(sys.stdin)
answers = {}
for name, path in request["pipelines"].items():
    with open(path) as file:
        pipeline = Pipeline.load(file)
    answers[name] = []
    for question in request["questions"]:
        result = pipeline.run(
            {"embedder": {"text": question}, "prompt": {"question": question}},
            include_outputs_from={"retriever"},
        )
        answers[name].append({
            "prompt": result["prompt"]["prompt"],
            "documents": [{"id": d.id, "score": d.score} for d in result["retriever"]["documents"]],
        })
json.dump(answers, sys.stdout)
"""


def write_pipeline(path: Path, *, bundle: Path, url: str, index: str, top_k: int) -> None:
    """Write a RAG pipeline as YAML: embed the question, retrieve, build the prompt for a generator.

    :param path: the YAML file.
    :param bundle: the model.
    :param url: address of OpenSearch.
    :param index: name of the index.
    :param top_k: documents in the prompt.
    """
    pipeline = Pipeline()
    pipeline.add_component("embedder", CLTextEmbedder(bundle=str(bundle)))
    target = OpenSearchIndex(url, index, str(bundle))
    pipeline.add_component("retriever", CLOpenSearchRetriever(index=target, top_k=top_k))
    pipeline.add_component("prompt", PromptBuilder(_PROMPT, required_variables=["question", "documents"]))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    pipeline.connect("retriever.documents", "prompt.documents")
    with write_beside(path) as file:
        file.write(pipeline.dumps().encode())


def ask_in_fresh_interpreter(
    pipelines: Mapping[Role, Path], questions: list[str]
) -> dict[Role, list[dict[str, Any]]]:
    """Run pipelines in a new Python process that imports Haystack alone.

    :param pipelines: YAML file by name.
    :param questions: what to ask each of them.
    :returns: by name, for each question the prompt and the documents' ids and scores.
    :raises CLHaystackError: the interpreter failed; its last line is quoted.
    """
    request = {"pipelines": {name: str(path) for name, path in pipelines.items()}, "questions": questions}
    finished = subprocess.run(  # noqa: S603 - our own interpreter and our own program
        [sys.executable, "-c", _RUNNER],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        last = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise CLHaystackError(f"the pipeline failed in a fresh interpreter: {last}")
    answers: dict[Role, list[dict[str, Any]]] = json.loads(finished.stdout)
    return answers
