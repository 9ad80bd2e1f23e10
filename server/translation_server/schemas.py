"""`translation-server schema`: JSON Schemas of the files that people write, for editors that complete and check."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from translation_server.config.dialect_format import FILE
from translation_server.config.fault_files import schema_of_files
from translation_server.config.setting_types import schema_of
from translation_server.config.settings import Settings

META_SCHEMA = "http://json-schema.org/draft-07/schema#"  # the newest one that Taplo and Even Better TOML read


def schema(name: str) -> dict[str, Any]:
    """Returns one of `SCHEMAS`."""
    title, content = SCHEMAS[name]
    return {"$schema": META_SCHEMA, **content(), "title": title}


def show(names: Sequence[str]) -> int:
    """Prints schemas."""
    for name in names:
        sys.stdout.write(json.dumps(schema(name), indent=2, default=dict) + "\n")
    return 0


def _settings() -> dict[str, Any]:
    """Returns the schema of the variables in `.env`. Other programs may have variables there too."""
    properties = {}
    for name, field in Settings.model_fields.items():
        default = {} if field.default is None else {"default": field.default}
        properties[name.upper()] = {"description": field.description, **schema_of(field), **default}
    return {"type": "object", "properties": properties}


SCHEMAS: Mapping[str, tuple[str, Callable[[], Mapping[str, Any]]]] = {
    "dialect": ("A file that describes a job API", lambda: FILE.schema),
    "faults": ("A file of fault rules", schema_of_files),
    "settings": ("The settings of the server, as in .env", _settings),
}
"""The title of each schema, and the function that returns its content."""
