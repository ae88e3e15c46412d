"""What an import costs and brings along: nothing heavy where serving does not need it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import cl_haystack

TRAINING_STACK = {"torch", "transformers", "optimum", "sentence_transformers", "accelerate", "datasets"}
REPORT = "; import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def modules_after(code: str, cwd: Path | None = None) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after running ``code``."""
    finished = subprocess.run(
        [sys.executable, "-c", code + REPORT], capture_output=True, text=True, check=True, cwd=cwd
    )
    return set(json.loads(finished.stdout.splitlines()[-1]))


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = modules_after("import cl_haystack")
    assert "cl_haystack" in loaded
    assert not loaded & (TRAINING_STACK | {"onnxruntime", "numpy", "haystack", "opensearchpy", "pydantic"})


def test_importing_the_package_is_quick(record_property: Callable[[str, object], None]) -> None:
    code = "import time; t = time.perf_counter(); import cl_haystack; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(5)]
    best = min(float(run.stdout) for run in runs)
    record_property("import_ms", round(1000 * best, 1))
    assert best < 0.15


@pytest.mark.parametrize(
    "code",
    [
        "from cl_haystack import CLTextEmbedder, CLDocumentEmbedder, CLOpenSearchWriter",
        "from cl_haystack import CLOpenSearchRetriever, CLOpenSearchHybridRetriever, OpenSearchIndex",
        "import cl_haystack.evaluation, cl_haystack.data, cl_haystack.opensearch.server",
    ],
)
def test_serving_needs_no_training_stack(code: str) -> None:
    """Haystack itself imports torch where it is installed, so here it cannot be imported at all."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({sorted(TRAINING_STACK)!r}))\n"
    assert "cl_haystack" in modules_after(blocked + code)


def test_encoding_never_loads_the_training_stack(base_bundle: Path) -> None:
    load = f"from cl_haystack import Encoder; encoder = Encoder.load({str(base_bundle)!r})"
    code = f"{load}; assert encoder.encode_queries(['x']).any()"
    loaded = modules_after(code)
    assert "onnxruntime" in loaded
    assert not loaded & (TRAINING_STACK | {"haystack"})


def test_help_of_the_command_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['cl-haystack', '--help']\n"
        "from cl_haystack.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "pass"
    )
    loaded = modules_after(code)
    assert "typer" in loaded
    assert not loaded & (TRAINING_STACK | {"onnxruntime", "haystack", "opensearchpy", "scipy", "matplotlib"})


def test_evaluating_and_mining_import_no_onnxruntime_until_a_bundle_is_opened() -> None:
    assert "onnxruntime" not in modules_after("import cl_haystack.data.mining, cl_haystack.evaluation.live")


def test_a_checkpoint_is_read_without_the_trainer_and_what_it_needs() -> None:
    """Export installs torch and transformers, not accelerate and datasets."""
    loaded = modules_after("from cl_haystack.training.model import SentenceEncoder")
    assert "torch" in loaded
    assert not loaded & {"cl_haystack.training.trainer", "datasets", "peft"}


def test_public_names_are_a_decision() -> None:
    assert cl_haystack.__all__ == sorted(cl_haystack.__all__)
    assert set(cl_haystack.__all__) - {"__version__"} == set(cl_haystack._HOMES)
    assert dir(cl_haystack) == cl_haystack.__all__
    for name in cl_haystack.__all__:
        assert getattr(cl_haystack, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = cl_haystack.Nonsense


@pytest.mark.parametrize(
    ("library", "extra", "code"),
    [
        ("torch", "train", "import cl_haystack.training"),
        ("onnx", "export", "import cl_haystack.export"),
        ("onnxruntime", "cpu", "import cl_haystack.encoder.session"),
        ("pytrec_eval", "report", "from cl_haystack.evaluation import *; evaluate_run({'q': {'d': 1}}, {})"),
    ],
)
def test_missing_extra_is_named(library: str, extra: str, code: str) -> None:
    blocked = f"import sys; sys.modules[{library!r}] = None\n{code}"
    finished = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, check=False)
    last = finished.stderr.strip().splitlines()[-1]
    assert "MissingExtraError" in last
    assert f"pip install 'cl-haystack[{extra}]'" in last
