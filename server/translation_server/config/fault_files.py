"""Fault rules from a TOML file."""

import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from translation_server.core.faults.rules import FaultRule
from translation_server.documents import STRICT, Faults
from translation_server.validation import field_errors, summary


class FaultsError(Exception):
    """A file of fault rules is unusable; the message is one line."""


class _File(BaseModel):
    model_config = STRICT

    faults: Faults


def schema_of_files() -> dict[str, Any]:
    """Returns the JSON Schema of a file, for editors."""
    return _File.model_json_schema()


def read_faults(path: Path) -> tuple[FaultRule, ...]:
    """Returns the fault rules of a file, each a table ``[[faults]]``.

    Raises:
        FaultsError: the file cannot be read, or has an invalid rule.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        return _File.model_validate_json(json.dumps(document, default=str)).faults  # a date becomes text
    except OSError as error:
        raise FaultsError(f"FAULTS={path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise FaultsError(f"FAULTS={path}: {summary(field_errors(error, 'the file'))}") from None
    except (ValueError, RecursionError) as error:
        raise FaultsError(f"FAULTS={path}: must be UTF-8 TOML: {error}") from None
