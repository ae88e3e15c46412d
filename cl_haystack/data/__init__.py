"""Pairs, corpora, queries and judgements: read, check, split, make. No torch."""

from cl_haystack.data.beir import Qrels, RetrievalTask, read_beir, read_qrels, read_queries
from cl_haystack.data.corpus import read_corpus, to_haystack_document
from cl_haystack.data.from_corpus import PairCounts, pairs_from_corpus, pairs_from_qrels
from cl_haystack.data.leakage import Overlap, find_overlap
from cl_haystack.data.mining import MiningReport, mine_hard_negatives
from cl_haystack.data.pool import pool_task
from cl_haystack.data.reading import read_pairs
from cl_haystack.data.records import CorpusDocument, Pair
from cl_haystack.data.splitting import is_held_out, split_by_group
from cl_haystack.data.writing import write_beside, write_pairs

__all__ = [
    "CorpusDocument",
    "MiningReport",
    "Overlap",
    "Pair",
    "PairCounts",
    "Qrels",
    "RetrievalTask",
    "find_overlap",
    "is_held_out",
    "mine_hard_negatives",
    "pairs_from_corpus",
    "pairs_from_qrels",
    "pool_task",
    "read_beir",
    "read_corpus",
    "read_pairs",
    "read_qrels",
    "read_queries",
    "split_by_group",
    "to_haystack_document",
    "write_beside",
    "write_pairs",
]
