"""The manifest's JSON schema, made of the models that read it: ``docs/bundle.schema.json``.

``python -m cl_haystack.bundle.schema > docs/bundle.schema.json`` writes it anew.
"""

import json
import sys
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from cl_haystack.bundle.manifest import KNOWN_FILES, MODEL_FILE, TOKENIZER_FILE, Manifest


class _WithoutTitles(GenerateJsonSchema):
    """A title that repeats the name of a field tells nobody anything."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def manifest_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of ``manifest.json``.

    :returns: what the models say, and what only the reader checks: which files there are, and that the format
        is stated.
    """
    schema = Manifest.model_json_schema(schema_generator=_WithoutTitles)
    properties = schema["properties"]
    properties["files"] |= {
        "propertyNames": {"enum": sorted(KNOWN_FILES)},
        "required": [MODEL_FILE, TOKENIZER_FILE],
    }
    schema["required"] = ["format", "format_version", *schema["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    """Return the schema as it stands in the file."""
    return json.dumps(manifest_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
