"""Checkpoint to bundle: needs the extra [export], or [export-torch] beside transformers 5."""

from cl_haystack.errors import MissingExtraError

try:
    import onnx  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401
except ImportError as missing:
    raise MissingExtraError(missing.name or "onnx", "export") from missing

from cl_haystack.export.export import MIN_COSINE, export_bundle

__all__ = ["MIN_COSINE", "export_bundle"]
