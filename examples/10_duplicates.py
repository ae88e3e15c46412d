"""Near-duplicates: of one document, of a text that is about to be added, and among all of an index."""

from cl_haystack import CLOpenSearchDuplicateRetriever, OpenSearchIndex

index = OpenSearchIndex(None, "stdlib", "bundle")
# A cosine, because this bundle is not calibrated; with `evaluate --calibrate duplicate=0.95` leave it out.
retriever = CLOpenSearchDuplicateRetriever(index, threshold=0.9)

like = retriever.run(document_id="json.dump")["documents"]
print("like json.dump:", [(document.id, round(document.score or 0, 3)) for document in like])

new = f"Copied from somewhere: {index.get_documents(['json.dump'])[0].content}"
print("already there:", [document.id for document in retriever.run(query=new)["documents"]])

groups = retriever.run()["groups"]
print(len(groups), "groups in all; the largest:", [document.id for document in groups[0]] if groups else [])
retriever.close()
