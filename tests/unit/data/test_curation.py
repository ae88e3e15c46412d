"""The check of pairs: planted defects are found, real text is left alone, and no line vanishes."""

import json
import tracemalloc
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_haystack.data import (
    Pair,
    PairCounts,
    RetrievalTask,
    find_overlap,
    pairs_from_qrels,
    read_beir,
    read_pairs,
    write_pairs,
)
from cl_haystack.data.curation import CheckReport, Kind, check_pairs
from cl_haystack.data.curation.intake import Intake
from cl_haystack.data.curation.personal_data import find_personal_data
from cl_haystack.data.curation.same_statement import is_same_statement, word_list
from cl_haystack.data.curation.spool import Spool
from cl_haystack.data.stdlib_docs import read_stdlib_docstrings
from cl_haystack.errors import ConfigurationError, DataError
from cl_haystack.progress import ignore
from tests.unit.data.planting import (
    recall_and_false_alarms,
    with_copies,
    with_flipped_labels,
    with_leaks,
    with_negatives,
)

ALL = frozenset(Kind)


def check(pairs: list[Pair], folder: Path, **options) -> tuple[CheckReport, dict[int, set[str]]]:
    """Check pairs; return the report, and the kinds found by line."""
    write_pairs(pairs, folder / "pairs.jsonl")
    report = check_pairs(folder / "pairs.jsonl", folder / "clean.jsonl", drop=ALL, **options)
    lines = map(json.loads, (folder / "clean.dropped.jsonl").read_text().splitlines())
    return report, {line["line"]: {reason["kind"] for reason in line["reasons"]} for line in lines}


def lines_with(found: dict[int, set[str]], *kinds: Kind) -> set[int]:
    return {line for line, names in found.items() if names & set(kinds)}


@pytest.fixture(scope="module")
def docstrings() -> list[Pair]:
    """Real pairs that every machine has: summaries and bodies of docstrings."""
    return [Pair(anchor=docstring.summary, positive=docstring.body) for docstring in read_stdlib_docstrings()]


@pytest.fixture(scope="module")
def claims(data_dir: Path) -> list[Pair]:
    return list(pairs_from_qrels(read_beir(data_dir / "scifact", "train"), PairCounts()))


@pytest.fixture(scope="module")
def questions(data_dir: Path) -> list[Pair]:
    """Two questions of the same intent, each question in one pair."""
    import csv

    with (data_dir / "banking77" / "train.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    Random(1).shuffle(rows)
    waiting: dict[str, str] = {}
    pairs = []
    for row in rows:
        if len(row["text"].split()) < 2:
            continue
        if other := waiting.pop(row["category"], None):
            pairs.append(Pair(anchor=row["text"], positive=other))
        else:
            waiting[row["category"]] = row["text"]
    return pairs[:2500]


@pytest.mark.parametrize("source", ["docstrings", "claims", "questions"])
def test_edited_copies_are_found_and_other_lines_are_left_alone(source, request, tmp_path):
    pairs, planted = with_copies(request.getfixturevalue(source), share=0.1, seed=3)
    _, found = check(pairs, tmp_path)
    recall, false_alarms = recall_and_false_alarms(
        lines_with(found, Kind.DUPLICATE, Kind.NEAR_DUPLICATE), planted, len(pairs)
    )
    assert recall >= 0.95
    assert false_alarms <= 0.01


@pytest.mark.parametrize("source", ["docstrings", "claims", "questions"])
def test_copies_of_the_positive_among_negatives_are_found(source, request, tmp_path):
    pairs, planted = with_negatives(request.getfixturevalue(source), seed=5, false_share=0.1)
    _, found = check(pairs, tmp_path)
    recall, false_alarms = recall_and_false_alarms(
        lines_with(found, Kind.KNOWN_POSITIVE), planted, len(pairs)
    )
    assert recall >= 0.95
    assert false_alarms <= 0.01


def test_leaked_queries_and_the_known_overlap_of_scifact_are_found(claims, data_dir, tmp_path):
    task = read_beir(data_dir / "scifact", "test")
    report, before = check(claims, tmp_path, task=task)
    overlap = find_overlap(claims, task)
    assert report.evaluation["queries_sharing_most_words"] == overlap.num_near_duplicates >= 112
    assert report.evaluation["seen_documents"] == len(
        {document for ids in overlap.seen_documents.values() for document in ids}
    )
    pairs, planted = with_leaks(claims, list(task.queries.values()), seed=4)
    _, found = check(pairs, tmp_path, task=task)
    recall, false_alarms = recall_and_false_alarms(lines_with(found, Kind.EVAL_QUERY), planted, len(pairs))
    assert recall >= 0.95
    assert false_alarms <= 0.01
    assert lines_with(before, Kind.EVAL_QUERY)  # published claims that are the same but for an edit


def make_task(folder: Path, queries: dict[str, str], document: str) -> RetrievalTask:
    """Return queries that all have one relevant document."""
    (folder / "corpus.jsonl").write_text(json.dumps({"_id": "d", "title": "", "text": document}))
    return RetrievalTask("task", folder / "corpus.jsonl", 1, queries, {query: {"d": 1} for query in queries})


def test_a_query_that_leaked_in_very_many_variants_is_found_in_all_of_them(tmp_path):
    query = "Interleukin treatment lowers mortality among hospital patients"
    task = make_task(tmp_path, {"q": query}, "The document.")
    places = [place for place in range(len(query)) if query[place - 1 : place + 2].isalpha()]
    variants = [query[:place] + letter + query[place:] for place in places for letter in "xq"]
    # Each is the same as all others, and rows of candidates are longer than what is looked at of others.
    pairs = [Pair(anchor=text, positive=f"answer number {line}") for line, text in enumerate(variants)]
    _, found = check(pairs, tmp_path, task=task)
    assert len(variants) > 80
    assert lines_with(found, Kind.EVAL_QUERY) == set(range(1, len(pairs) + 1))


def test_evaluation_texts_among_negatives_are_told(tmp_path):
    query, document = "Which drug lowers the mortality of patients?", "The relevant document speaks of it."
    task = make_task(tmp_path, {"q": query, "other": "Nobody has asked this before."}, document)
    texts = ("Another text, which is right.", document, query.lower().replace("drug", "durg"))
    pairs = [
        Pair(anchor=f"question {line} of many", positive=f"its answer {line}", negatives=(text,))
        for line, text in enumerate(texts)
    ]
    report, found = check(pairs, tmp_path, task=task)
    assert found == {2: {"eval-document"}, 3: {"eval-query"}}
    assert report.examples["eval-query"][0].detail == "query q as a negative"
    assert (report.evaluation["repeated_queries"], report.evaluation["seen_documents"]) == (1, 0)


@pytest.mark.slow
def test_a_model_finds_flipped_labels_and_answers_among_negatives(claims, base_bundle, tmp_path):
    from cl_haystack.encoder import Encoder

    encoder = Encoder.load(base_bundle)
    pairs, planted = with_flipped_labels(claims[::2], seed=7, share=0.05)
    report, found = check(pairs, tmp_path, encoder=encoder)
    recall, false_alarms = recall_and_false_alarms(
        lines_with(found, Kind.DOUBTFUL_LABEL), planted, len(pairs)
    )
    assert recall >= 0.75  # claims that their abstract hardly speaks of are out of a small model's reach
    assert false_alarms <= 0.01
    assert "are wrong" in report.notes[0]
    # Positive and negative changed places: no text is repeated, only the model can tell.
    pairs, _ = with_negatives(claims[:100], seed=5, false_share=0)
    swapped = {line for line in range(1, 101) if line % 10 == 0}
    pairs = [
        Pair(anchor=p.anchor, positive=p.negatives[0], negatives=(p.positive,)) if line in swapped else p
        for line, p in enumerate(pairs, start=1)
    ]
    _, found = check(pairs, tmp_path, encoder=encoder)
    recall, false_alarms = recall_and_false_alarms(
        lines_with(found, Kind.FALSE_NEGATIVE, Kind.FALSE_POSITIVE), swapped, len(pairs)
    )
    assert recall >= 0.95
    assert false_alarms <= 0.02


def same(one: str, other: str, *, rare: bool) -> bool:
    """Compare texts of a small file, where all words are rare, or of a large one."""
    return is_same_statement(word_list(one), word_list(other), lambda word: 1 if rare else 100)


OPPOSITES = [
    ("Exposure to X increases the risk of Y in adults.", "Exposure to X decreases the risk of Y in adults."),
    (
        "Insulin resistance causes hyperglycemia in adults.",
        "Insulin resistance causes hypoglycemia in adults.",
    ),
    ("The enzyme is active in the liver.", "The enzyme is inactive in the liver."),
    ("The process is reversible in mice.", "The process is irreversible in mice."),
    ("Pretreatment with aspirin lowers the risk.", "Posttreatment with aspirin lowers the risk."),
    ("Most carriers are symptomatic at birth.", "Most carriers are asymptomatic at birth."),
    ("Male mice develop the disease early.", "Female mice develop the disease early."),
    ("The assay was done in vivo with mice.", "The assay was done in vitro with mice."),
    ("She was hired by the bank last year.", "She was fired by the bank last year."),
    ("DNA is degraded by the enzyme.", "RNA is degraded by the enzyme."),
    ("The hepatitis A vaccine is given to children.", "The hepatitis B vaccine is given to children."),
    ("Type I errors are common here.", "Type II errors are common here."),
    ("10% of deaths happen in the first year.", "90% of deaths happen in the first year."),
    ("Take 1.5 mg of the drug each day.", "Take 15 mg of the drug each day."),
    ("Take 0.5 mg of the drug each day.", "Take 5 mg of the drug each day."),
    ("How do I transfer money to my account?", "How do I transfer money from my account?"),
    ("PD1 is associated with cancer in older men.", "PD1 is not associated with cancer in older men."),
    ("Patients are more likely to be admitted.", "Patients are less likely to be admitted."),
    ("You can return the item within a month.", "You can't return the item within a month."),
    ("You can return the item within a month.", "You cant return the item within a month."),
    ("You can return the item within a month.", "You can\u2019t return the item within a month."),
    ("The drug does reduce mortality in adults.", "The drug doesnt reduce mortality in adults."),
    ("Coffee is now served in the lobby.", "Coffee is not served in the lobby."),
    ("The treatment never works in old patients.", "The treatment ever works in old patients."),
    ("All of the samples were not tested for it.", "Not all of the samples were tested for it."),
    ("The hotel has wifi and no parking place.", "The hotel has no wifi and parking place."),
    ("A is not active here and B is active.", "A is not active here and B is not active."),
    ("activate my card", "activate card"),
    ("Die Karte gilt in Europa", "Die Karte gilt nicht in Europa"),
    ("Das war eine kleine Karte", "Das war eine keine Karte"),
    ("La carte est acceptée en France", "La carte n'est pas acceptée en France"),
    ("La carta è accettata in Italia", "La carta non è accettata in Italia"),
    ("Карта действует в России сегодня", "Карта не действует в России сегодня"),
    ("يمكن إرجاع المنتج بعد الشراء", "لا يمكن إرجاع المنتج بعد الشراء"),
    ("यह उत्पाद वापस किया जा सकता है", "यह उत्पाद वापस नहीं किया जा सकता है"),
    ("लड़का स्कूल जाता है", "लड़की स्कूल जाती है"),  # vowels are marks there
    ("支持退款", "不支持退款"),
    ("我们支持在线退款服务", "我们不支持在线退款服务"),
    ("北京到上海的火车", "上海到北京的火车"),
    ("この製品は返品できます", "この製品は返品できません"),
    ("이 제품은 반품할 수 있습니다", "이 제품은 반품할 수 없습니다"),
    ("สินค้านี้คืนได้", "สินค้านี้คืนไม่ได้"),  # its negations are not known: no letter may come or go
]


@pytest.mark.parametrize("rare", [True, False])
@pytest.mark.parametrize(("one", "other"), OPPOSITES)
def test_opposites_are_no_duplicates(one, other, rare):
    assert not same(one, other, rare=rare)
    assert not same(other, one, rare=rare)


EDITED = [
    ("Why has my top-up failed?", "why has my top up failed"),
    ("How do I activate my new card?", "How do I activate my new crad?"),
    ("How do I activate my new card?", "How do I activate a new card, please?"),
    ("How do I activate my new card?", "How do I activate my my new cards?"),
    ("I don't have my card with me.", "I don\u2019t have my card with me"),
    ("I don't have my card with me.", "I dont have card my with me"),
    ("The card is not working at all.", "The card is not not working at all."),
    ("The card is not working at all.", "The card not is working at all."),
    ("The card is not working at all.", "The card isnot working at all."),
    ("Interleukin-6 levels rise early on.", "Interleukin 6 levels rise early on."),
    ("如何激活我的新卡\uff1f", "如何激活我的新卡"),
    ("如何激活我的新卡\uff1f", "请如何激活我的新卡\uff1f"),
]
MISTYPED = [
    ("How do I activate my new card?", "How do I activaqe my new card?"),
    ("Can I get the refund today?", "Can I get tze refund today?"),
    ("This protein is a marker of inflammation.", "This protein is a markr of inflammatiom."),
    ("Wie aktiviere ich meine neue Karte?", "Wie aktivire ich meine neue Karte?"),
    ("Как активировать мою новую карту?", "Как активировть мою новую карту?"),
]


@pytest.mark.parametrize("rare", [True, False])
@pytest.mark.parametrize(("one", "other"), EDITED)
def test_small_edits_make_no_other_statement(one, other, rare):
    assert same(one, other, rare=rare)
    assert same(other, one, rare=rare)


@pytest.mark.parametrize(("one", "other"), MISTYPED)
def test_a_rare_word_that_is_nearly_another_is_a_slip_of_the_pen(one, other):
    assert same(one, other, rare=True)
    assert not same(one, other, rare=False)  # words of many texts are words


def test_a_short_word_or_a_negation_is_mistyped_only_where_the_right_one_is_far_more_frequent():
    texts = {"how": 40, "hwo": 1, "not": 300, "noq": 1, "dna": 19, "rna": 1}
    for one, other, expected in (
        ("how is it measured in mice", "hwo is it measured in mice", True),
        ("it is not measured in mice", "it is noq measured in mice", True),
        ("the dna is measured in mice", "the rna is measured in mice", False),
    ):
        found = is_same_statement(word_list(one), word_list(other), lambda word: texts.get(word, 1))
        assert found is expected


@given(st.text(max_size=40), st.text(max_size=40))
def test_sameness_is_symmetric_and_holds_for_equal_texts(one, other):
    assert same(one, one, rare=True)
    assert same(one, other, rare=True) == same(other, one, rare=True)


def test_labels_that_contradict_each_other_are_dropped_and_the_majority_is_believed(tmp_path):
    texts = ["How do I order a new card?", "Where can I get another card?"]
    pairs = [
        Pair(anchor=texts[0], positive=texts[1], label=1),
        Pair(anchor=texts[1], positive=texts[0], label=0),
        Pair(anchor="Is there a fee?", positive="What does it cost?", label=1),
        Pair(anchor="Is there a fee?", positive="What does it cost?", label=1),
        Pair(anchor="what does it cost", positive="Is there a fee?", label=0),
        Pair(anchor="A man eats.", positive="A man is eating food.", score=0.9),
        Pair(anchor="A man eats.", positive="A man is eating food.", score=0.1),
    ]
    _, found = check(pairs, tmp_path)
    assert lines_with(found, Kind.CONTRADICTION) == {1, 2, 5, 6, 7}
    assert lines_with(found, Kind.DUPLICATE) == {4}


@pytest.mark.parametrize("yes", [{}, {"label": 1}, {"score": 0.9}])
@pytest.mark.parametrize("no", [{"label": 0}, {"score": 0.1}])
def test_a_judgement_that_says_no_is_no_duplicate_of_one_that_says_yes(yes, no, tmp_path):
    texts = {"anchor": "How do I order a new card?", "positive": "Where can I get another card?"}
    pairs = [Pair(**texts, **yes), Pair(**texts, **no)]
    _, found = check(pairs, tmp_path)
    assert found == {1: {"contradiction"}, 2: {"contradiction"}}
    _, found = check([*pairs, Pair(**texts)], tmp_path)
    assert found == {2: {"contradiction"}, 3: {"duplicate"}}
    turned_round = {"anchor": texts["positive"], "positive": texts["anchor"]}
    _, found = check([Pair(**turned_round, **yes), Pair(**texts, **no)], tmp_path)
    assert found == {1: {"contradiction"}, 2: {"contradiction"}}


def test_lines_that_say_yes_in_several_ways_are_duplicates_and_a_middling_score_is_none(tmp_path):
    texts = {"anchor": "How do I order a new card?", "positive": "Where can I get another card?"}
    edited = {**texts, "anchor": "How do I order a new crad?"}
    judgements = [{}, {"label": 1}, {"score": 0.8}, {"score": 0.5}, {"score": 0.6, "label": 1}]
    pairs = [Pair(**texts, **judgement) for judgement in judgements]
    _, found = check([*pairs, Pair(**edited, score=0.5), Pair(**edited, score=0.7, label=1)], tmp_path)
    assert lines_with(found, Kind.DUPLICATE) == {2, 3, 5}
    assert lines_with(found, Kind.NEAR_DUPLICATE) == {6, 7}
    assert len(found) == 5


def test_rows_that_differ_in_their_negatives_alone_are_kept(tmp_path):
    pairs = [Pair(anchor="a question", positive="its answer", negatives=(text,)) for text in ("one", "two")]
    report, _ = check([*pairs, pairs[1]], tmp_path)
    assert report.found == {"duplicate": 1}


def test_a_known_positive_is_taken_out_and_the_pair_stays(tmp_path):
    first, second = "The answer is given here at length.", "Another answer, which is right as well."
    pairs = [
        Pair(
            anchor="Which answer?",
            positive=first,
            negatives=("Something else.", second + "!"),
            candidate_scores=(0.9, 0.1, 0.8),
        ),
        Pair(anchor="which answer", positive=second),
    ]
    write_pairs(pairs, tmp_path / "pairs.jsonl")
    report = check_pairs(tmp_path / "pairs.jsonl", tmp_path / "clean.jsonl")
    assert (report.kept, report.repaired, report.dropped) == (2, 1, 0)
    kept = list(read_pairs(tmp_path / "clean.jsonl"))
    assert kept[0].negatives == ("Something else.",)
    assert kept[0].candidate_scores == (0.9, 0.1)
    [told] = map(json.loads, (tmp_path / "clean.dropped.jsonl").read_text().splitlines())
    assert told["kept_without"] == [second + "!"]
    assert told["record"] == pairs[0].model_dump(mode="json", exclude_defaults=True)


def test_broken_lines_are_named_and_do_not_stop_the_check(tmp_path):
    good = json.dumps({"anchor": "question", "positive": "an answer"}).encode()
    lines = [
        b"\xef\xbb\xbf" + good,
        b"{",
        '{"anchor": "Käse", "positive": "b"}'.encode("latin-1"),
        b"",
        b"[1]",
        b'{"anchor": "", "positive": "b"}',
        b'{"anchor": "a"}',
        good.replace(b"question", b"?!"),
    ]
    (tmp_path / "pairs.jsonl").write_bytes(b"\n".join(lines))
    report = check_pairs(tmp_path / "pairs.jsonl", tmp_path / "clean.jsonl")
    told = [json.loads(line) for line in (tmp_path / "clean.dropped.jsonl").read_text().splitlines()]
    kinds = {line["line"]: line["reasons"][0]["kind"] for line in told}
    assert kinds == {**dict.fromkeys((2, 3, 5, 6, 7), "malformed"), 8: "no-words"}
    assert (report.lines, report.kept, report.dropped) == (7, 1, 6)
    assert "is not UTF-8" in told[1]["reasons"][0]["detail"]


def test_broken_lines_do_not_wait_in_memory_for_a_good_one(tmp_path):
    line = b'{"anchor": "' + b"a" * 2000 + b"\n"
    (tmp_path / "pairs.jsonl").write_bytes(line * 4000 + b'{"anchor": "a", "positive": "b"}')
    with closing(Spool(tmp_path)) as spool:
        tracemalloc.start()
        columns = Intake(spool, None, None).read(tmp_path / "pairs.jsonl", ignore)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len(columns.line) == 4001
    assert peak < 2 << 20  # of 8 MB


def test_broken_rows_of_a_table_are_named(tmp_path):
    rows = [
        "anchor,positive",
        'a question,"an\nanswer"',
        "Käse,x",
        "only one",
        'another,"reply" x',
        "last,line",
    ]
    (tmp_path / "pairs.csv").write_bytes("\n".join(rows).encode("latin-1"))
    check_pairs(tmp_path / "pairs.csv", tmp_path / "clean.jsonl")
    told = [json.loads(line) for line in (tmp_path / "clean.dropped.jsonl").read_text().splitlines()]
    assert [line["line"] for line in told] == [4, 5, 6]
    assert [pair.anchor for pair in read_pairs(tmp_path / "clean.jsonl")] == ["a question", "last"]


words = st.sampled_from(["card", "new", "not", "how", "5", "é", "!", "order", "crad", ""])
texts = st.lists(words, max_size=6).map(" ".join)
records = st.fixed_dictionaries(
    {"anchor": texts, "positive": texts},
    optional={
        "negatives": st.lists(texts, max_size=2),
        "label": st.integers(0, 2),
        "score": st.floats(-0.1, 1),
    },
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(records, st.text(max_size=5)), min_size=1, max_size=12))
def test_every_line_is_kept_or_told_and_the_answer_is_always_the_same(tmp_path_factory, lines):
    folder = tmp_path_factory.mktemp("check")
    # What is nothing but white space to a reader of lines is no line.
    written = [json.dumps(line) for line in lines]
    (folder / "pairs.jsonl").write_text("\n".join(written))
    outcomes = []
    for _ in range(2):
        report = check_pairs(folder / "pairs.jsonl", folder / "clean.jsonl")
        outcomes.append([(folder / name).read_bytes() for name in ("clean.jsonl", "clean.dropped.jsonl")])
    assert outcomes[0] == outcomes[1]
    assert report.lines == len(lines) == report.kept + report.dropped
    assert report.kept == outcomes[0][0].count(b"\n")
    assert report.dropped + report.repaired == outcomes[0][1].count(b"\n")
    if report.kept:
        assert len(list(read_pairs(folder / "clean.jsonl"))) == report.kept


def test_boilerplate_odd_lengths_and_languages_are_told_and_kept(tmp_path):
    random = Random(0)
    vocabulary = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "ndrst"]
    pairs = [
        Pair(anchor=" ".join(random.sample(vocabulary, 9)), positive=" ".join(random.sample(vocabulary, 40)))
        for _ in range(400)
    ]
    for line in range(30):
        pairs[line] = pairs[line].model_copy(update={"positive": "Please log in to read on."})
    pairs[40] = pairs[40].model_copy(update={"positive": " ".join(vocabulary * 20)})
    _, found = check(pairs, tmp_path)
    assert lines_with(found, Kind.BOILERPLATE) == set(range(1, 31))
    assert lines_with(found, Kind.LENGTH) == {41}
    assert check_pairs(tmp_path / "pairs.jsonl", tmp_path / "clean.jsonl").dropped == 0
    german = "Wie lautet die Rechnung für meine letzte Bestellung im Kundenkonto?"
    english = "Where do I find the invoice for my last order in the customer account?"
    _, found = check(
        [Pair(anchor=german, positive=english), Pair(anchor=english, positive="yes")], tmp_path, language="en"
    )
    assert found == {1: {"language"}}


def test_personal_data_has_right_check_digits():
    text = "mail joe@acme.io, call +49 30 901820 or (415) 555-2671, pay from DE89 3704 0044 0532 0130 00 or "
    text += "4111 1111 1111 1111, log in from 8.8.8.8"
    assert [name for name, _ in find_personal_data(text)] == [
        "e-mail",
        "IP",
        "IBAN",
        "card",
        "phone",
        "phone",
    ]
    for text in (
        "user@example.com at 192.168.0.1 with version 1.2.3.4.5",
        "DE89 3704 0044 0532 0130 01 and 4111 1111 1111 1112",
        "p < 0.001, 95% CI 1.2-3.4, n = 12,345 (1998-2004), ISRCTN 12345678",
    ):
        assert not list(find_personal_data(text))


def test_a_report_quotes_lines_without_their_personal_data(tmp_path):
    personal = ["joe.doe@acme.io", "+49 30 901820", "0049 30 901821", "4111 1111 1111 1111"]
    anchor = f"Mail {personal[0]} or call {personal[1]}, {personal[2]}, {personal[0]}: the card {personal[3]}"
    pair = Pair(anchor=anchor, positive=f"{'a' * 190} {personal[0]}")
    lines = [pair.model_dump_json(), pair.model_dump_json(), f'{{"anchor": "{anchor}']
    # The message quotes 80 characters, and cuts the address.
    lines.append(f'{{"anchor": "How do I change my address in all of the accounts to {personal[0]}"')
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    report = check_pairs(tmp_path / "pairs.jsonl", tmp_path / "clean.jsonl")
    assert report.found == {"malformed": 2, "duplicate": 1, "personal-data": 2}
    told = json.dumps(asdict(report), ensure_ascii=False)
    assert not [text for text in (*personal, "joe.doe", "+49 30") if text in told]
    first = report.examples["personal-data"][0]
    assert first.detail == "card, e-mail, phone"
    assert first.anchor == "Mail [e-mail] or call [phone], [phone], [e-mail]: the card [card]"
    assert "expected one JSON object" in report.examples["malformed"][1].detail
    assert personal[0] in (tmp_path / "clean.jsonl").read_text()  # the pairs are as they were


def test_files_that_would_be_overwritten_are_refused(tmp_path):
    write_pairs([Pair(anchor="a", positive="b")], tmp_path / "pairs.jsonl")
    with pytest.raises(ConfigurationError, match="three files"):
        check_pairs(tmp_path / "pairs.jsonl", tmp_path / "pairs.jsonl")
    with pytest.raises(ConfigurationError, match="language 'english' is unknown"):
        check_pairs(tmp_path / "pairs.jsonl", tmp_path / "clean.jsonl", language="english")
    with pytest.raises(DataError, match="no such file"):
        check_pairs(tmp_path / "missing.jsonl", tmp_path / "clean.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs.jsonl"]
