"""A corpus into OpenSearch: streamed, embedded and written at the same time, every document accounted for."""

from cl_haystack import Encoder, OpenSearchIndex, index_documents
from cl_haystack.data import read_corpus, to_haystack_document

encoder = Encoder.load("bundle")
index = OpenSearchIndex(None, "stdlib", encoder.bundle)  # None: $OPENSEARCH_URL, else http://127.0.0.1:9200
documents = (to_haystack_document(document) for document in read_corpus("data/corpus.jsonl"))
report = index_documents(documents, index, encoder)
print(f"{report.read} read, {report.written} written, {report.rejected} refused")
index.close()
