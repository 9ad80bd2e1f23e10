"""Copies the licence and the version into the packages, so that each can be built alone: `make generate` runs it."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
SERVER, CLIENT = ROOT / "server", ROOT / "client"


def copies() -> dict[Path, str]:
    """Returns the texts of the copies by their paths."""
    version, licence = SERVER / "translation_server" / "version.py", ROOT / "LICENSE"
    return {
        CLIENT / "translation_client" / "version.py": version.read_text(encoding="utf-8"),
        SERVER / "LICENSE": licence.read_text(encoding="utf-8"),
        CLIENT / "LICENSE": licence.read_text(encoding="utf-8"),
    }


def main() -> None:
    """Writes the copies."""
    for path, text in copies().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
