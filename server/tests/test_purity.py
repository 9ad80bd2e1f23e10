"""The core is pure: what import-linter says of its imports, seen at run time."""

import subprocess
import sys

IMPURE = {
    *("asyncio", "fastapi", "logging", "os.path", "passlib", "pydantic", "random"),
    *("secrets", "socket", "sqlite3", "subprocess", "threading", "uuid"),
}

PROGRAM = """
import sys
before = set(sys.modules)
from translation_server.core import dialects, hints, job, sandbox
print(*sorted(set(sys.modules) - before))
"""


def test_the_core_loads_no_io():
    loaded = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout.split()
    assert "translation_server.core.job" in loaded
    assert not IMPURE & set(loaded)
