"""Checkpoint to bundle with optimum (needs the extra [export])."""

from cl_haystack.errors import MissingExtraError

try:
    import onnx  # noqa: F401
    import optimum.exporters.onnx  # noqa: F401
except ImportError as missing:
    raise MissingExtraError(missing.name or "optimum-onnx", "export") from missing

from cl_haystack.export.export import export_bundle

__all__ = ["export_bundle"]
