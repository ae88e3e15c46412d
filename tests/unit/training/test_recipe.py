"""The default recipe: hard negatives where the loss wants them, pairs of documents, never too many."""

from pathlib import Path

from cl_haystack.data import CorpusDocument, MiningReport, Pair
from cl_haystack.training import ContrastiveTrainer, Recipe
from cl_haystack.training.losses import CoSENT, InfoNCE, MarginMSE
from tests.unit.training.runs import CONFIG

WORDS = ["cat", "dog", "sat", "mat", "red", "blue", "house", "runs", "query", "passage"]
DOCUMENTS = [
    CorpusDocument(
        id=str(i),
        title=f"{WORDS[i % 10]} {WORDS[i // 10]}",
        text=f"The {WORDS[i % 10]} sat on the red {WORDS[i // 10]} mat. A {WORDS[i // 10]} runs in the blue "
        f"house {WORDS[i % 10]}. The dog sat there with a {WORDS[(i + 3) % 10]} on it.",
    )
    for i in range(40)
]
PAIRS = [Pair(anchor=document.title, positive=document.content) for document in DOCUMENTS[:10]]


def test_pairs_of_documents_are_bounded_and_repeatable() -> None:
    everything = Recipe(methods=("cloze",)).pairs_of(DOCUMENTS)
    some = Recipe(methods=("cloze",), max_pairs=7).pairs_of(DOCUMENTS)
    assert Recipe().pairs_of(DOCUMENTS) == []
    assert len(everything) >= 40
    assert len(some) == 7
    assert set(some) <= set(everything)
    assert some == Recipe(methods=("cloze",), max_pairs=7).pairs_of(DOCUMENTS)
    assert some != Recipe(methods=("cloze",), max_pairs=7, seed=1).pairs_of(DOCUMENTS)


def test_a_large_corpus_is_sampled_and_most_of_the_sample_stays_when_it_grows() -> None:
    recipe = Recipe(min_documents=20, documents_per_pair=3)
    sample, num_documents = recipe.sample_of(iter(DOCUMENTS), num_pairs=8)
    assert num_documents == 40
    assert len(sample) == 24
    assert sample == [document for document in DOCUMENTS if document in sample]  # in their order
    assert len(recipe.sample_of(DOCUMENTS, num_pairs=1)[0]) == 20
    assert recipe.sample_of(DOCUMENTS, num_pairs=14) == (DOCUMENTS, 40)
    assert sample != Recipe(min_documents=24, seed=1).sample_of(DOCUMENTS, num_pairs=1)[0]
    before, _ = recipe.sample_of(DOCUMENTS[:36], num_pairs=8)
    assert len({d.id for d in sample} - {d.id for d in before}) <= 4


def test_negatives_are_other_documents_below_the_margin(checkpoint: Path) -> None:
    trainer = ContrastiveTrainer(checkpoint, loss=InfoNCE(), config=CONFIG)
    mined, report = trainer.mine(PAIRS, DOCUMENTS, Recipe(relative_margin=0.0))
    contents = {document.content for document in DOCUMENTS}
    assert report.with_mined > 0
    for pair in mined:
        assert set(pair.negatives) <= contents - {pair.positive}
        assert all(score <= pair.candidate_scores[0] for score in pair.candidate_scores or ())


def test_pairs_keep_the_scores_of_a_teacher_unless_a_guide_takes_its_place(checkpoint: Path) -> None:
    taught = [p.model_copy(update={"negatives": ("x",), "candidate_scores": (9, -3)}) for p in PAIRS]
    trainer = ContrastiveTrainer(checkpoint, loss=MarginMSE(), config=CONFIG)
    assert trainer.mine(taught, DOCUMENTS, Recipe(relative_margin=0.0)) == (taught, MiningReport())
    guided = ContrastiveTrainer(checkpoint, loss=MarginMSE(), config=CONFIG, guide=checkpoint)
    mined, report = guided.mine(taught, DOCUMENTS, Recipe(relative_margin=0.0))
    assert report.mined > 0
    assert {pair.candidate_scores for pair in mined} == {None}


def test_a_loss_without_negatives_gets_none(checkpoint: Path) -> None:
    trainer = ContrastiveTrainer(checkpoint, loss=CoSENT(), config=CONFIG)
    mined, report = trainer.mine(PAIRS, DOCUMENTS, Recipe(relative_margin=0.0))
    assert mined == PAIRS
    assert report.mined == 0
