"""Pairs that a text holds by its form, and documents out of folders."""

import os
from collections import Counter
from pathlib import Path

import pytest
from haystack import Document
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.data import CorpusDocument, PairCounts, pairs_from_corpus
from cl_haystack.data.folders import FolderCounts, from_haystack_documents, read_folder
from cl_haystack.data.patterns import (
    PATTERNS,
    definition_pairs,
    docstring_pairs,
    section_pairs,
)
from cl_haystack.data.questions import question_pairs

INSTALL = "Run the installer and follow the steps."


def document(text: str, title: str = "Guide") -> CorpusDocument:
    return CorpusDocument("1", title, text)


def test_sections_stand_under_their_headings():
    text = f"# Install\n{INSTALL}\n```\n# no heading\n```\n## Configure it ##\n{INSTALL}\n### Empty\n"
    assert list(section_pairs(document(text))) == [
        ("Install", f"{INSTALL}\n```\n# no heading\n```"),
        ("Guide Configure it", INSTALL),
    ]


def test_questions_find_their_answers():
    text = (
        "Q: How do I reset it?\nA: Hold the button for ten seconds.\n\nWhere is my invoice now?\n\n"
        "It is in the account menu.\n\n## Can I pay later please?\nYes, within thirty days of it.\n\n"
        "Why is that?\n\nNo."
    )
    assert list(question_pairs(document(text))) == [
        ("How do I reset it?", "Hold the button for ten seconds."),
        ("Where is my invoice now?", "It is in the account menu."),
        ("Can I pay later please?", "Yes, within thirty days of it."),
    ]


def test_questions_stand_out_as_headings_items_and_in_bold():
    text = (
        "# FAQ\n- How do I pay later?\n- Where is my invoice?\n\n"  # a table of contents
        "## How do I pay later?\nWithin thirty days of it.\n\nA reminder costs five euros.\n"
        "### Where is my invoice?\nIt is in the account menu.\n"
        "**Is it a PDF then?**\nYes, one that you can print.\n"
        "- Do you ship to islands?\n- Yes, but two days later.\n"
        "1. **Q:** Who pays for it?\n   A: We do, up to ten euros.\n"
        "```\n# What does it do?\nprint it and all the others\n```\n"
    )
    assert list(question_pairs(document(text))) == [
        ("How do I pay later?", "Within thirty days of it.\n\nA reminder costs five euros."),
        ("Where is my invoice?", "It is in the account menu."),
        ("Is it a PDF then?", "Yes, one that you can print."),
        ("Do you ship to islands?", "Yes, but two days later."),
        (
            "Who pays for it?",
            "We do, up to ten euros.\n```\n# What does it do?\nprint it and all the others\n```",
        ),
    ]


def test_a_question_may_take_several_lines_and_is_one_only_if_answered():
    text = (
        "Q: How do I reset what\nI set before that?\nA: Hold the button\nfor ten seconds.\n\n"
        "**Q: Reset the device**\n\n**A:** Hold the button for ten seconds.\n\n"
        "Question: which rate is best. Setup: two cores\nand one seed, nothing else is known.\n\n"
        "Where is it then?\n\n## Rules that hold for all of them\n\n"
        "Expression → a | b | ?\nand so on and on and on.\n\n"
        "1. **4.1.** What is a heap?\n2. **4.2.** Trees and Forests\n3. **4.3.** Lists\n"
    )
    assert list(question_pairs(document(text))) == [
        ("How do I reset what I set before that?", "Hold the button\nfor ten seconds."),
        ("Reset the device", "Hold the button for ten seconds."),
    ]


def test_headings_lose_what_marks_them_up():
    text = f"## The `__init__` of **[Heaps](heap.md)** <a id='h'></a>{{#heap}}\n{INSTALL}\n"
    assert list(section_pairs(document(text))) == [("Guide The __init__ of Heaps", INSTALL)]


def test_definitions_say_what_something_is():
    text = "A binary heap is a tree in which parents are smaller. It is a list. "
    text += "This is a thing which we do not want. None of them is a signature of any kind at all. "
    text += "Because heaps are the quickest way, take them. Remember that a heap is a tree, always. "
    text += "The second reason is that it is the offset in bytes."
    assert list(definition_pairs(document(text))) == [
        ("What is a binary heap?", "A binary heap is a tree in which parents are smaller. It is a list.")
    ]


@pytest.mark.parametrize(
    ("sentence", "question"),
    [
        ("Apple is a technology company from California.", "What is Apple?"),
        ("Theory is the opposite of what is done here.", "What is Theory?"),
        ("Antibodies are the proteins that bind antigens.", "What are Antibodies?"),
        ("The heap is a tree in which parents are smaller.", "What is the heap?"),
        ("An  Angle is the space between two lines.", "What is an Angle?"),
        ("A is a letter of the Latin alphabet, the first.", "What is A?"),
    ],
)
def test_what_is_defined_is_asked_for_as_it_is_called(sentence, question):
    assert list(definition_pairs(document(sentence))) == [(question, sentence)]


def test_names_of_code_say_what_their_docstrings_do():
    code = (
        'class HTTPServer:\n    """Serve files to anybody who asks."""\n    def get_fileName(self, path):\n'
    )
    code += '        """Return the name of the file."""\n    def short(self):\n        """Too short."""\n'
    assert list(docstring_pairs(document(code))) == [
        ("http server", "Serve files to anybody who asks."),
        ("get file name of path", "Return the name of the file."),
    ]
    for text in ("no code at all, is it?", "-" * 100_000 + "1"):  # of the latter the parser's stack is full
        assert not list(docstring_pairs(document(text)))


@given(st.text(), st.sampled_from(sorted(PATTERNS)))
def test_any_text_gives_pairs_of_texts_or_none(text, method):
    counts = PairCounts()
    made = list(pairs_from_corpus([document(text)], counts, methods=[method]))
    assert counts.pairs == len(made)
    assert all(pair.source == method for pair in made)


def test_a_folder_is_read_and_what_is_not_is_counted(tmp_path):
    pytest.importorskip("trafilatura")
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.md").write_text(f"# Guide\n\n## Install\n\n{INSTALL}\n")
    page = (
        "<html><body><article><h1>Billing</h1><p>We send an invoice every month to the address you gave.</p>"
    )
    page += "<h2>Late payment</h2><p>After thirty days we charge a fee of five euros for each reminder.</p>"
    (tmp_path / "sub" / "b.html").write_text(page)
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe\x00")
    for name in ("d.png", "d.PDF", "e.pdf", "LICENSE"):
        (tmp_path / name).write_bytes(b"")
    counts = FolderCounts()
    documents = list(read_folder(tmp_path, counts))
    assert [(d.id, d.title) for d in documents] == [("a.md", "Guide"), ("sub/b.html", "Billing")]
    others = Counter({".pdf": 2, ".png": 1, "": 1})
    assert counts == FolderCounts(documents=2, other_files=others, unreadable=["c.txt"])
    pairs = {
        pair.anchor: pair.positive for pair in pairs_from_corpus(documents, PairCounts(), methods=["section"])
    }
    assert pairs["Guide Install"] == INSTALL
    assert pairs["Billing Late payment"].startswith("After thirty days")


def test_titles_are_headings_of_markdown_alone(tmp_path):
    for name, text in {
        "a_b.py": "#!/usr/bin/env python\n# Helpers\n",
        "c-d.md": f"\n## Set it up ##\n\n{INSTALL}\n",
        "e.md": "#hashtag and more\n",
        "f.rst": "# of them\n",
    }.items():
        (tmp_path / name).write_text(text)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xe9.txt")).write_text("not UTF-8, the name")
    documents = list(read_folder(tmp_path, FolderCounts()))
    assert [(d.id, d.title) for d in documents] == [
        ("a_b.py", "a b"),
        ("c-d.md", "Set it up"),
        ("e.md", "e"),
        ("f.rst", "f"),
        ("r\ufffd.txt", "r\ufffd"),
    ]
    assert len(list(pairs_from_corpus(documents, PairCounts()))) == len(documents)


@pytest.mark.parametrize(
    ("front", "title", "starts"),
    [
        ('---\ntitle: "Pay: later"\ntags: [a, b]\n---\n', "Pay: later", "## Why"),
        ("---\ntitle: 2026-99-99\n---\n", "", "---"),  # no date, so no YAML
        ("---\ntitle: 7\n---\n", "Why", "## Why"),
        ("---\na: [\n---\n", "", "---"),
        ("---\nJust between two rules.\n---\n", "", "---"),
        ("---\r\ntitle: Pay\r\n---\r\n", "Pay", "## Why"),
    ],
)
def test_front_matter_states_the_title_and_is_no_text(tmp_path, front, title, starts):
    (tmp_path / "a-b.md").write_bytes(f"{front}## Why\n{INSTALL}\n".encode())
    [found] = read_folder(tmp_path, FolderCounts())
    assert found.title == (title or "a b")
    assert found.text.startswith(starts)
    assert "\r" not in found.text


def test_a_page_whose_heading_is_outside_of_its_text_has_its_title(tmp_path):
    pytest.importorskip("trafilatura")
    body = "<p>Parcels to islands leave our store before noon and take two days longer than others.</p>" * 2
    for name, head, top in (
        ("a", "<title>Islands - Shop</title>", "<header><h1>To islands</h1></header>"),
        ("b", "<title>Islands - Shop</title>", ""),
        ("c-d", "", ""),
    ):
        page = f"<html><head>{head}</head><body>{top}<main>{body}</main></body></html>"
        (tmp_path / f"{name}.html").write_text(page)
    assert [d.title for d in read_folder(tmp_path, FolderCounts())] == ["To islands", "Islands", "c d"]


def test_the_heading_that_is_the_title_is_not_in_its_positive():
    below = f"{INSTALL} Then start it, and look into the log for what it said."
    given = document(f"\n# Set  it up #\n\n{below}", "Set it up")
    made = {p.source: p for p in pairs_from_corpus([given], PairCounts(), methods=["title", "cloze", "crop"])}
    assert made["title"].positive == below
    assert made["cloze"].positive.startswith("Set it up ")
    assert not [p for p in made.values() if "#" in p.anchor + p.positive]
    assert list(section_pairs(given)) == [("Set  it up", below)]
    other = document(f"# Another\n{INSTALL}")
    [pair] = pairs_from_corpus([other], PairCounts())
    assert pair.positive == other.text
    counts = PairCounts()
    assert not list(pairs_from_corpus([document("# Guide\n")], counts))
    assert counts == PairCounts(without_text=1)


def test_haystack_documents_keep_ids_titles_and_texts():
    given = [
        Document(id="1", content="Guide How to do it.", meta={"title": "Guide", "page": 3}),
        Document(id="2"),
    ]
    assert list(from_haystack_documents(given)) == [
        CorpusDocument("1", "Guide", "How to do it.", {"page": 3}),
        CorpusDocument("2"),
    ]
