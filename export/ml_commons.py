"""The same model for clusters that embed on the server: a package for OpenSearch's ml-commons plugin.

ml-commons takes the first output of an ONNX model, pools it in Java and normalizes it. Our graph has pooled
already, whatever the mode, and gives one row a text: ``pooling_mode`` CLS takes the first row as it is.
It embeds one text at a time, so int8 is as invariant there as here. It adds no prefixes: a query needs the
query prefix in its text.

Source: https://docs.opensearch.org/latest/ml-commons-plugin/custom-local-models/ and the plugin's
``ONNXSentenceTransformerTextEmbeddingTranslator``.
"""

import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from cl_haystack.bundle import ModelBundle
from cl_haystack.bundle.fingerprint import file_entry
from cl_haystack.bundle.manifest import MODEL_FILE, TOKENIZER_FILE, FileEntry
from cl_haystack.errors import ExportError

# ml-commons 2.x and 3.x bring onnxruntime 1.16.
_MAX_OPSET, _MAX_IR_VERSION = 19, 9
_PRECISIONS = ("fp32", "int8")  # 1.16 has no 8-bit MatMulNBits, and on CPUs fp16 only costs
_VERSION = "1.0.0"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip format's first date: the same files, the same hash


def write_ml_commons(bundle: ModelBundle, out: Path, *, model_type: str) -> Path:
    """Write a bundle's model as a package for ml-commons, and the request that registers it.

    :param bundle: in fp32 or int8.
    :param out: the zip file, replaced where it is such a package already; the request is written beside it as
        ``.json``. Its ``url`` names this file: change it to where the cluster can fetch the package.
    :param model_type: the transformer's ``model_type``: ``bert`` tells ml-commons to pass ``token_type_ids``.
    :returns: the file with the request, the body of ``POST /_plugins/_ml/models/_register``.
    :raises ExportError: ml-commons' onnxruntime cannot read the graph, or the files are others' or cannot be
        written.
    """
    check_ml_commons(bundle.precision, out)
    graph = bundle.manifest.graph
    if graph.opset > _MAX_OPSET or graph.ir_version > _MAX_IR_VERSION:
        raise ExportError(
            f"the graph has opset {graph.opset} and IR version {graph.ir_version}; ml-commons' onnxruntime "
            f"reads up to {_MAX_OPSET} and {_MAX_IR_VERSION}"
        )
    if "token_type_ids" in graph.inputs:
        model_type = "bert"  # for every other type ml-commons leaves them out
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
            draft = Path(folder) / out.name
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as package:
                _add(package, MODEL_FILE, bundle.model_file.read_bytes())
                _add(package, TOKENIZER_FILE, _tokenizer(bundle).encode())
            request = _request(bundle, file_entry(draft), out, model_type)
            content = json.dumps(request, indent=2, ensure_ascii=False)
            _request_file(draft).write_text(content + "\n", encoding="utf-8")
            draft.replace(out)
            _request_file(draft).replace(_request_file(out))
    except OSError as error:
        raise ExportError(f"{out} cannot be written ({error})") from error
    return _request_file(out)


def check_ml_commons(precision: str, out: Path) -> None:
    """Refuse, before any work, a precision that ml-commons cannot run, and to replace foreign files.

    :param precision: of the bundle.
    :param out: the zip file.
    :raises ExportError: the precision is another than fp32 and int8, ``out`` is not named ``.zip``, or it or
        the file for the request exists and is something else.
    """
    if precision not in _PRECISIONS:
        raise ExportError(f"ml-commons cannot run {precision} models; export {' or '.join(_PRECISIONS)}")
    if out.suffix.lower() != ".zip":
        raise ExportError(f"{out}: a package for ml-commons is a zip file; name it {out.name}.zip")
    for file, is_ours in ((out, _is_package), (_request_file(out), _is_request)):
        if os.path.lexists(file) and not is_ours(file):
            raise ExportError(
                f"{file} exists and is something else; it would be replaced: choose another path"
            )


def _request_file(package: Path) -> Path:
    return package.with_suffix(".json")


def _is_package(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as package:
            return package.namelist() == [MODEL_FILE, TOKENIZER_FILE]
    except (OSError, zipfile.BadZipFile):
        return False


def _is_request(file: Path) -> bool:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "model_content_hash_value" in content


def _add(package: zipfile.ZipFile, name: str, content: bytes) -> None:
    package.writestr(zipfile.ZipInfo(name, date_time=_EPOCH), content, zipfile.ZIP_DEFLATED)


def _tokenizer(bundle: ModelBundle) -> str:
    """Return ``tokenizer.json`` with the length limit in it, where ml-commons looks for it."""
    content = json.loads(bundle.tokenizer_file.read_text(encoding="utf-8"))
    content["truncation"] = {
        "direction": "Right",
        "max_length": bundle.manifest.text.max_length,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    return json.dumps(content, ensure_ascii=False)


def _request(bundle: ModelBundle, entry: FileEntry, package: Path, model_type: str) -> dict[str, Any]:
    manifest = bundle.manifest
    facts = {
        "space_id": manifest.space_id,
        "fingerprint": manifest.fingerprint,
        "pooling": manifest.embedding.pooling,
        **manifest.text.model_dump(),
    }
    return {
        "name": manifest.name,
        "version": _VERSION,
        "description": f"Exported by cl-haystack, space {manifest.space_id}, {manifest.numerics.precision}",
        "function_name": "TEXT_EMBEDDING",
        "model_format": "ONNX",
        "model_content_size_in_bytes": entry.bytes,
        "model_content_hash_value": entry.sha256,
        "model_config": {
            "model_type": model_type,
            "embedding_dimension": manifest.embedding.dimension,
            "framework_type": "sentence_transformers",
            "pooling_mode": "CLS",
            "normalize_result": manifest.embedding.normalize,
            "all_config": json.dumps(facts, ensure_ascii=False),
        },
        "url": package.resolve().as_uri(),
    }
