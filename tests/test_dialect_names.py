"""The names that no dialect can have are the same for the server and the client."""

import re

import pytest

from translation_client.dialect_files import RESERVED, find_dialect
from translation_server.app import OWN_NAMES
from translation_server.config.dialect_files import BUILTIN, NAME, read_dialects
from translation_server.core.dialects.dialect import DialectError

TABLE = """
[{name}]
poll = "/{{job_id}}"
job = {{state = "{{status}}"}}
words = {{pending = "busy", completed = "done", error = "failed"}}
"""


@pytest.mark.parametrize("name", sorted(filter(NAME.fullmatch, OWN_NAMES | BUILTIN | RESERVED)))
def test_names_of_routes_are_refused_by_the_server_and_the_client(tmp_path, name):
    path = tmp_path / "own.toml"
    path.write_text(TABLE.format(name=name))
    with pytest.raises(DialectError, match=re.escape(f"[{name}] must have a name of its own")):
        read_dialects(path, OWN_NAMES)
    with pytest.raises(ValueError, match=re.escape(f"[{name}] must have an unused name")):
        find_dialect(path)
