"""Contrastive losses: pure functions of tensors, each with a small configurable object around it."""

from cl_haystack.training.losses.info_nce import InfoNCE, info_nce

__all__ = ["InfoNCE", "info_nce"]
