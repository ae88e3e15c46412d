"""Raw files to an index: Haystack's router, converters, cleaner and splitter, then the writer that embeds."""

import json
from pathlib import Path

from haystack import Pipeline
from haystack.components.converters import JSONConverter, TextFileToDocument
from haystack.components.joiners import DocumentJoiner
from haystack.components.preprocessors import DocumentCleaner, DocumentSplitter
from haystack.components.routers import FileTypeRouter
from haystack.document_stores.types import DuplicatePolicy

from cl_haystack import CLOpenSearchRetriever, CLOpenSearchWriter, OpenSearchIndex

raw = Path("raw")
raw.mkdir(exist_ok=True)
(raw / "heaps.txt").write_text("A heap is a tree.\n\nIts smallest element is always at the root. " * 20)
note = {"title": "Tuples", "text": "A tuple cannot be changed after it was made."}
(raw / "tuples.json").write_text(json.dumps(note))

index = OpenSearchIndex(None, "files", "bundle")
indexing = Pipeline()
indexing.add_component("router", FileTypeRouter(mime_types=["text/plain", "application/json"]))
indexing.add_component("text", TextFileToDocument())
indexing.add_component("json", JSONConverter(content_key="text", extra_meta_fields={"title"}))
indexing.add_component("join", DocumentJoiner())
indexing.add_component("clean", DocumentCleaner())
indexing.add_component("split", DocumentSplitter(split_by="word", split_length=60, split_overlap=10))
# OVERWRITE: run it again after a change, and only what has changed is embedded and written.
indexing.add_component(
    "write",
    CLOpenSearchWriter(index, policy=DuplicatePolicy.OVERWRITE, meta_fields_to_embed=["title"]),
)
indexing.connect("router.text/plain", "text.sources")
indexing.connect("router.application/json", "json.sources")
indexing.connect("text", "join")
indexing.connect("json", "join")
indexing.connect("join", "clean")
indexing.connect("clean", "split")
indexing.connect("split", "write")
written = indexing.run({"router": {"sources": sorted(raw.iterdir())}})
print(f"{written['write']['documents_written']} pieces written")

found = CLOpenSearchRetriever(index, top_k=1).run(query="can I modify a tuple?")["documents"][0]
print(Path(found.meta["file_path"]).name, "→", found.content)
indexing.close()
