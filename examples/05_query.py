"""Search in Haystack pipelines: by vectors, with a filter, and hybrid in one request."""

from haystack import Pipeline

from cl_haystack import CLOpenSearchHybridRetriever, CLOpenSearchRetriever, CLTextEmbedder, OpenSearchIndex

question = "How do I merge sorted inputs?"
index = OpenSearchIndex(None, "stdlib", "bundle")

dense = Pipeline()
dense.add_component("embedder", CLTextEmbedder("bundle"))
dense.add_component("retriever", CLOpenSearchRetriever(index, top_k=3))
dense.connect("embedder.embedding", "retriever.query_embedding")
known = {"field": "id", "operator": "not in", "value": ["heapq.merge"]}
found = dense.run({"embedder": {"text": question}, "retriever": {"filters": known}})
print("beside the known one:", [document.id for document in found["retriever"]["documents"]])

hybrid = CLOpenSearchHybridRetriever(index, top_k=3)  # embeds the query itself, with the index's own model
print("words and vectors:", [document.id for document in hybrid.run(query=question)["documents"]])
