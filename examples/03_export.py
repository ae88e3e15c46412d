"""Checkpoint to bundle: ONNX through optimum, proven against torch, all that serving needs."""

from cl_haystack.export import export_bundle

bundle = export_bundle("checkpoint", "bundle", name="stdlib-search")
print(bundle.label)
print(bundle.manifest.parity)
