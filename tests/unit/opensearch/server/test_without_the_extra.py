import subprocess
import sys

LIBRARIES = ("filelock", "psutil")

# A fresh interpreter: here all of it is imported already.
BLOCKED = """
import sys
from cl_haystack.errors import MissingExtraError
for library in sys.argv[1:]:
    sys.modules[library] = None
    try:
        from cl_haystack.opensearch.server import LocalOpenSearch
    except MissingExtraError as error:
        print(error)
    for name in [name for name in sys.modules if name.startswith("cl_haystack.opensearch.server.")]:
        del sys.modules[name]
    del sys.modules[library]
"""


def test_an_absent_library_names_the_extra() -> None:
    command = [sys.executable, "-c", BLOCKED, *LIBRARIES]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    lines = answer.stdout.splitlines()
    assert len(lines) == len(LIBRARIES)
    for library, line in zip(LIBRARIES, lines, strict=True):
        assert f"needs {library}" in line
        assert "pip install 'cl-haystack[local]'" in line
