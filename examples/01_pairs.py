"""Documents to training pairs and a test set: real text that every machine has, Python's own docstrings.

A docstring's summary line becomes the question, its body the document that answers it.
"""

from pathlib import Path

from cl_haystack.data.stdlib_docs import read_stdlib_docstrings
from cl_haystack.demo.collection import HeadedText, write_collection

MODULES = {"asyncio", "heapq", "json", "logging", "threading", "unittest"}

texts = [
    HeadedText(id=docstring.name, group=docstring.module, heading=docstring.summary, text=docstring.body)
    for docstring in read_stdlib_docstrings()
    if docstring.module in MODULES
]
# Split by group: no module that is tested on is trained on. Writes corpus, queries, qrels and pairs.
print(write_collection(texts, Path("data")))
