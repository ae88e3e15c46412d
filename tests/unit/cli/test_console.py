"""What a person sees of long work, with a terminal and without."""

import io
import time

import pytest
from rich.console import Console

from cl_haystack.cli import console
from cl_haystack.progress import Progress


def test_lines_are_written_even_while_the_work_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=written, highlight=False, width=200))
    monkeypatch.setattr(console, "_PLAIN_INTERVAL_S", 0.02)
    with console.progress_bar("indexing") as on_progress:
        on_progress(Progress(5, 10, "5 written"))
        until = time.monotonic() + 10
        while written.getvalue().count("\n") < 3 and time.monotonic() < until:
            time.sleep(0.01)
    lines = written.getvalue().splitlines()
    assert len(lines) >= 3
    assert lines[-1].startswith("indexing: 5 of 10, ")
    assert lines[-1].endswith(" left, 5 written")
    time.sleep(0.1)
    assert written.getvalue().splitlines() == lines  # none after the end


def test_what_comes_after_the_last_document_has_no_rate() -> None:
    assert console._plain(Progress(10, 10, "10 written"), 7_200) == "10 of 10, finishing, 10 written"
    assert console._plain(Progress(5, 10), 1) == "5 of 10, 5.0/s, 0:00:01 left"


def test_a_message_is_one_line_and_its_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    message = f"runs[/2026]/:smile:/{'deep/' * 50}"
    console.err.print(message)
    assert capsys.readouterr().err == message + "\n"


def test_a_bar_shows_a_title_with_brackets_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=written, force_terminal=True, width=120))
    with console.progress_bar("evaluating tuned[/x]") as on_progress:
        on_progress(Progress(5, 10, "pass [1]"))
    assert "evaluating tuned[/x]" in written.getvalue()
    assert "pass [1]" in written.getvalue()
