"""Copies the files that both sides share about dialects from the server to the client: `make generate`.

These are the files of the shipped APIs, and the modules that say what such a file may hold.
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
SERVER, CLIENT = ROOT / "server" / "translation_server", ROOT / "client" / "translation_client"
MODULES = ("dialect_checks.py", "dialect_format.py", "dialect_shapes.py", "dialect_texts.py", "dialect_webhooks.py")


def copies() -> dict[Path, str]:
    """Returns the texts of the client's files by their paths."""
    files = {
        CLIENT / "catalogue" / path.name: path.read_text(encoding="utf-8") for path in SERVER.glob("catalogue/*.toml")
    }
    for name in MODULES:
        text = (SERVER / "config" / name).read_text(encoding="utf-8")
        files[CLIENT / name] = text.replace("translation_server.config.", "translation_client.")
    return files


def main() -> None:
    """Makes the client's copies the same as the server's files."""
    files = copies()
    for path in (CLIENT / "catalogue").glob("*.toml"):
        if path not in files:
            path.unlink()
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
