from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.data.sentences import sentence_spans


def split(text):
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? Four… Five", ["One.", "Two!", "Three?", "Four…", "Five"]),
        ('He said "no." She left (at last.) End.', ['He said "no."', "She left (at last.)", "End."]),
        ("Smith et al. Found it, e.g. In E. coli, vs. Others.", None),
        ("It grew by 2.5 points. 3 of 4 agreed.", ["It grew by 2.5 points.", "3 of 4 agreed."]),
        ("written in lower case. still the same one.", None),
        ("Wait... There it is.", ["Wait...", "There it is."]),
        ("A heading\n \nA paragraph\nof two lines.", ["A heading", "A paragraph\nof two lines."]),
        (" \n\n ", []),
        ("", []),
    ],
)
def test_known_texts(text, sentences):
    assert split(text) == ([text] if sentences is None else sentences)


@given(st.text(alphabet=" \n.!?…\"')aB1", max_size=60))
def test_no_character_is_lost_and_no_sentence_is_blank(text):
    spans = list(sentence_spans(text))
    assert all(text[start:end] and text[start:end] == text[start:end].strip() for start, end in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert "".join("".join(split(text)).split()) == "".join(text.split())


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", [".", ". ", "\n", ".)", "A. ", "\n \t", "a"])
def test_a_text_of_a_megabyte_takes_a_second_or_two(piece):
    assert len(list(sentence_spans(piece * (1_000_000 // len(piece))))) >= 0
