"""``pairs from-generator`` as users run it: Haystack's own generator from a YAML, before a fake service."""

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner

from cl_haystack.cli.main import app

DOCUMENTS = {
    "heap": "A heap queue keeps the smallest element first, and pops it in logarithmic time.",
    "socket": "A listening socket accepts connections that other computers open to its port.",
    "rain": "Rain falls where moist air rises, cools down and can no longer hold its water.",
    "refused": "Unspeakable words that the service refuses to be asked about.",
}
ANSWERS = {
    "heap queue": "1. Which structure gives me the minimum quickly?\n2. A heap queue keeps\n3. ok",
    "listening socket": '- "How does a server wait for clients on the network?"\n- Why does it rain?',
    "Rain falls": "My questions:\nWhy does it rain?\nWhich structure gives me the minimum quickly?",
}


class FakeService(BaseHTTPRequestHandler):
    """A fake of a service that speaks OpenAI's protocol: it answers by rule, and fails for some documents."""

    prompts: list[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        self.prompts.append(prompt)
        if "Unspeakable" in prompt:
            self._send(400, {"error": {"message": "the content is refused"}})
            return
        answer = next(answer for words, answer in ANSWERS.items() if words in prompt)
        message = {"role": "assistant", "content": answer}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        self._send(200, {"id": "1", "object": "chat.completion", "created": 0, "model": "fake",
                         "choices": [choice]})  # fmt: skip

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def _send(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def service(monkeypatch) -> Iterator[tuple[str, list[str]]]:
    """Address of a running fake service, and the prompts that it got."""
    monkeypatch.setenv("OPENAI_API_KEY", "of the fake")
    monkeypatch.setattr(FakeService, "prompts", [], raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), FakeService) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1", FakeService.prompts
        server.shutdown()
        thread.join()


@pytest.fixture
def files(tmp_path, service) -> Path:
    """A corpus with lines that cannot be used, and a pipeline with a generator."""
    lines = [json.dumps({"_id": name, "text": text}) for name, text in DOCUMENTS.items()]
    (tmp_path / "corpus.jsonl").write_text("\n".join([*lines, lines[0], "{", '{"_id": "empty", "text": ""}']))
    (tmp_path / "generator.yaml").write_text(
        f"""
        components:
          prompt: {{type: haystack.components.builders.prompt_builder.PromptBuilder,
                   init_parameters: {{template: unused}}}}
          generator:
            type: haystack.components.generators.chat.openai.OpenAIChatGenerator
            init_parameters:
              api_key: {{type: env_var, env_vars: [OPENAI_API_KEY], strict: true}}
              api_base_url: {service[0]}
              max_retries: 0
        connections: []
        """
    )
    return tmp_path


def run(files: Path, *options: object, status: int = 0) -> str:
    arguments = ["pairs", "from-generator", str(files / "corpus.jsonl"), "--pipeline",
                 str(files / "generator.yaml"), "-o", str(files / "pairs.jsonl")]  # fmt: skip
    result = CliRunner().invoke(app, [*arguments, *map(str, options)])
    assert result.exit_code == status, result.output
    return result.output if status == 0 else f"{result.output}{result.exception}"


def questions(files: Path) -> dict[str, str]:
    pairs = map(json.loads, (files / "pairs.jsonl").read_text().splitlines())
    names = {text: name for name, text in DOCUMENTS.items()}
    return {pair["anchor"]: names[pair["positive"]] for pair in pairs}


@pytest.mark.slow
def test_questions_that_find_their_document_become_pairs(files, service, base_bundle):
    told = json.loads(run(files, "--bundle", base_bundle, "--top-k", "1", "--num-questions", "2", "--json"))
    # The socket's answer about rain came first, and does not find the socket's document.
    assert questions(files) == {
        "Which structure gives me the minimum quickly?": "heap",
        "How does a server wait for clients on the network?": "socket",
    }
    assert {name: told[name] for name in ("documents", "failures", "copied", "not_found", "pairs")} == {
        "documents": 4, "failures": 2, "copied": 2, "not_found": 1, "pairs": 2,
    }  # fmt: skip
    assert [oddity["count"] for oddity in told["oddities"]] == [1, 1]
    assert told["oddities"][0]["examples"][0].startswith("line 6: unexpected end of data")
    assert told["oddities"][1]["examples"] == [
        "line 5: id 'heap' is there a second time; rename or remove one"
    ]
    sheet = json.loads((files / "pairs.datasheet.json").read_text())
    assert sheet["method"] == "from-generator (OpenAIChatGenerator)"
    assert [entry["name"] for entry in sheet["inputs"]] == ["corpus.jsonl", "generator.yaml"]


def test_a_prompt_of_ones_own_and_further_rounds_are_asked(files, service):
    (files / "prompt.txt").write_text("{num_questions} Fragen zu: {text}")
    run(files, "--prompt", files / "prompt.txt", "--num-questions", "3", "--max-documents", "2")
    asked = [re.match(r"\d Fragen zu: A \w+ \w+", prompt) for prompt in service[1]]
    # One question of three was left, so two more were wanted, and then none came that was new.
    assert [found.group() for found in asked if found] == [
        "3 Fragen zu: A heap queue", "2 Fragen zu: A heap queue",
        "3 Fragen zu: A listening socket", "1 Fragen zu: A listening socket",
    ]  # fmt: skip
    assert set(questions(files).values()) == {"heap", "socket"}


def test_what_cannot_work_is_named(files):
    assert "has no component 'llm'; it has prompt, generator" in run(files, "--component", "llm", status=1)
    assert "PromptBuilder takes" in run(files, "--component", "prompt", status=1)
    (files / "prompt.txt").write_text("no place for it")
    assert "expected {text} in it" in run(files, "--prompt", files / "prompt.txt", status=1)
    (files / "corpus.jsonl").write_text(json.dumps({"_id": "refused", "text": DOCUMENTS["refused"]}))
    assert "the generator failed 2 times" in run(files, status=1)
    (files / "generator.yaml").write_text("components: {generator: {type: somewhere.Else}}\nconnections: []")
    assert "no pipeline that Haystack loads" in run(files, status=1)
    assert not (files / "pairs.jsonl").exists()
