"""Copies the dialects that the server ships to the client: `make generate`."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "server" / "translation_server" / "catalogue"
TARGET = ROOT / "client" / "translation_client" / "catalogue"


def main() -> None:
    """Makes the client's copies the same as the server's files."""
    files = {path.name: path.read_text(encoding="utf-8") for path in SOURCE.glob("*.toml")}
    for path in TARGET.glob("*.toml"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (TARGET / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
