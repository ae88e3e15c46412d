"""Hybrid search in one request: weights, diversity, highlights, a filter in both legs; tuned for an index."""

from cl_haystack import CLOpenSearchHybridRetriever, Encoder, OpenSearchIndex
from cl_haystack.data import read_beir
from cl_haystack.opensearch.tuning import tune_hybrid

question = "How do I merge sorted inputs?"
index = OpenSearchIndex(None, "stdlib", "bundle")

words = CLOpenSearchHybridRetriever(index, top_k=3, weights=(0.7, 0.3), highlight=True)
for document in words.run(query=question)["documents"]:
    print(f"{document.score:.3f}", document.id, document.meta.get("highlights", [])[:1])

diverse = CLOpenSearchHybridRetriever(index, top_k=3, diversity=0.5)
known = {"field": "id", "operator": "not in", "value": ["heapq.merge"]}
found = diverse.run(query=question, filters=known)["documents"]
print("diverse, without the known one:", [document.id for document in found])

# What suits your documents: choose on judged questions, keep it in the index, and give no weights any more.
# In earnest take questions that neither the model was trained on nor your report is about.
task = read_beir("data", "test")
report = tune_hybrid(index, Encoder.load("bundle"), task.queries, task.qrels, dataset=task.name)
print("tuned:", report.settings.weights, report.settings.fusion, report.comparison.verdict)
index.keep_hybrid_settings(report.settings)
found = CLOpenSearchHybridRetriever(index, top_k=3).run(query=question)["documents"]
print("as tuned:", [document.id for document in found])
index.close()
