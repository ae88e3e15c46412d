"""An asynchronous service: many questions at once on one event loop, one session, a few connections."""

import asyncio
import time

from haystack import Pipeline

from cl_haystack import CLOpenSearchHybridRetriever, OpenSearchIndex
from cl_haystack.data import read_beir


async def main() -> None:
    search = Pipeline()
    index = OpenSearchIndex(None, "stdlib", "bundle")
    search.add_component("search", CLOpenSearchHybridRetriever(index, top_k=3))

    async def ask(question: str) -> str:
        found = await search.run_async({"search": {"query": question}})
        return str(found["search"]["documents"][0].id)

    questions = list(read_beir("data", "test").queries.values())[:50]
    await ask(questions[0])  # the first text loads the model
    started = time.perf_counter()
    answers = await asyncio.gather(*map(ask, questions))
    print(f"{len(answers)} questions in {time.perf_counter() - started:.1f} s")
    print(f"{questions[0]!r} → {answers[0]}")
    await search.close_async()


asyncio.run(main())
