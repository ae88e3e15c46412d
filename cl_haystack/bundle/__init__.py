"""The model bundle: one directory, all that serving needs (standard library and pydantic only)."""

from cl_haystack.bundle.bundle import ModelBundle
from cl_haystack.bundle.manifest import Manifest

__all__ = ["Manifest", "ModelBundle"]
