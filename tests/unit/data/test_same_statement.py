"""Which texts say the same: small edits and slips of the pen do, opposites never."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.data.curation.same_statement import is_same_statement
from cl_haystack.data.normalization import word_list


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
