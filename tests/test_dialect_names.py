"""The names that no API can have are the same for the server and the client."""

import tomllib
from pathlib import Path

import pytest

from translation_client.dialect_files import RESERVED, find_dialect
from translation_server.app import OWN_NAMES
from translation_server.config.dialect_files import BUILTIN, read_dialects
from translation_server.config.dialect_format import NAME
from translation_server.core.dialects.dialect import DialectError

GOOD = tomllib.loads((Path(__file__).parent / "contract" / "bad-dialects.toml").read_text())["good"]


@pytest.mark.parametrize("name", sorted(filter(NAME.fullmatch, OWN_NAMES | BUILTIN | RESERVED)))
def test_names_of_routes_are_refused_by_the_server_and_the_client(tmp_path, name):
    path = tmp_path / f"{name}.toml"
    path.write_text(GOOD)
    with pytest.raises(DialectError, match="the name of the file is the name of the API: "):
        read_dialects(str(path), OWN_NAMES)
    with pytest.raises(ValueError, match="the name of the file is the name of the API: "):
        find_dialect(path)


@pytest.mark.parametrize("name", sorted(OWN_NAMES | BUILTIN | RESERVED))
def test_mounts_of_routes_are_refused_by_the_server_and_the_client(tmp_path, name):
    path = tmp_path / "own.toml"
    path.write_text(f'mount = "/{name}/v1"\n{GOOD}')
    with pytest.raises(DialectError, match="mount"):
        read_dialects(str(path), OWN_NAMES)
    with pytest.raises(ValueError, match="mount"):
        find_dialect(path)
