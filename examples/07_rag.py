"""Question to answer: search, prompt, a generator of your choice. Without an API key, one that echoes."""

import os
from typing import Any

from haystack import Pipeline, component
from haystack.components.builders import ChatPromptBuilder
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage

from cl_haystack import CLOpenSearchHybridRetriever, OpenSearchIndex

TEMPLATE = """Answer with the documents below, and name the number of the one you used.
{% for document in documents %}
[{{ loop.index }}] {{ document.content }}
{% endfor %}
Question: {{ question }}"""


@component
class EchoGenerator:
    """Stands where your generator goes: answers with the first document of the prompt."""

    @component.output_types(replies=list[ChatMessage])
    def run(self, messages: list[ChatMessage]) -> dict[str, Any]:
        """Return what the prompt says."""
        first = (messages[-1].text or "").partition("[1] ")[2].splitlines()[0]
        return {"replies": [ChatMessage.from_assistant(f"{first} [1]")]}


generator = OpenAIChatGenerator() if os.environ.get("OPENAI_API_KEY") else EchoGenerator()
index = OpenSearchIndex(None, "stdlib", "bundle")
rag = Pipeline()
rag.add_component("retriever", CLOpenSearchHybridRetriever(index, top_k=3))
rag.add_component(
    "prompt", ChatPromptBuilder(template=[ChatMessage.from_user(TEMPLATE)], required_variables="*")
)
rag.add_component("generator", generator)
rag.connect("retriever.documents", "prompt.documents")
rag.connect("prompt.prompt", "generator.messages")

question = "How do I merge sorted inputs?"
answer = rag.run({"retriever": {"query": question}, "prompt": {"question": question}})
print(answer["generator"]["replies"][0].text)
rag.close()
