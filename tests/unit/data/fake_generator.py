"""A fake chat generator: it answers by rule, so that what is made of its answers can be known."""

from haystack import component
from haystack.dataclasses import ChatMessage


@component
class FakeChatGenerator:
    """Asks about the first words of the text in a prompt; the second line is about something else."""

    @component.output_types(replies=list[ChatMessage])
    def run(self, messages: list[ChatMessage]) -> dict[str, list[ChatMessage]]:
        text = messages[0].text.split("Text:\n")[1].strip()
        if "unspeakable" in text:
            raise RuntimeError("the model refuses")
        words = text.split()
        lines = [
            f'1. "Where do I read of {" ".join(reversed(words[:4]))}?"',
            "2) what is the weather like tomorrow",
            f"- {' '.join(words[:5])}",
            "Here are your questions:",
            "?",
        ]
        return {"replies": [ChatMessage.from_assistant("\n".join(lines))]}
