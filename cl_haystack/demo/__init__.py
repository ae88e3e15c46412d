"""The whole circle as one command, on text that every machine has or on the user's own; needs every extra."""

from importlib.util import find_spec

from cl_haystack.errors import MissingExtraError

# One library of each extra: what is missing is said at once, not after minutes of work.
for _library in ("onnxruntime", "torch", "optimum", "matplotlib", "scipy", "filelock", "jgo"):
    if find_spec(_library) is None:
        raise MissingExtraError(_library, "all")
