"""Builds the site of the documentation in build/site: `make docs` runs it, in its own virtual environment.

The pages lie as in the repository, so their links are the same there. The build adds the references of the HTTP API
(from its OpenAPI document) and of the libraries, and llms.txt for programs.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from translation_server import TranslationServer
from translation_server.schemas import SCHEMAS, schema

ROOT = Path(__file__).parents[1]
PAGES, SITE = ROOT / "build" / "pages", ROOT / "build" / "site"
COPIED = (
    *("*.md", "LICENSE", "docs", "examples", "tests/contract/README.md", "server/README.md", "client/README.md"),
    *("docker-compose.yml", ".env.example", "deploy/action"),  # for those who have no copy of the project
)

LIBRARIES = {
    "client": ("The client", "translation_client"),
    "testing": ("Testing with pytest", "translation_client.testing"),
    "embedded": ("The embedded server", "translation_server.embedded.TranslationServer"),
}
"""The pages of the libraries' references: the title, and what is described."""

CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)

TABS = re.compile(r"^<!-- tabs -->$(.*?)^<!-- /tabs -->$", re.DOTALL | re.MULTILINE)
TAB = re.compile(r"^\*\*([^*\n]+)\*\*\n(.*?)(?=^\*\*[^*\n]+\*\*\n|\Z)", re.DOTALL | re.MULTILINE)
"""Variants of the same, one below the other in the Markdown: each begins with its name as a line in bold."""

LOADED = re.compile(r'<(?:script|img|link rel="stylesheet")[^>]* (?:src|href)="(?:https?:)?//[^"]*"')
"""What a page of the site must not have: something that a browser loads from elsewhere."""

Part: TypeAlias = Mapping[str, Any]


def main() -> None:
    """Builds the site anew.

    Raises:
        SystemExit: There is a warning, such as a link or an anchor that leads nowhere, or a page needs the internet.
    """
    collect()
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--clean", "--strict"]
    environment = os.environ | {"NO_COLOR": "1"}
    built = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(built.stdout, end="")
    if built.returncode or re.search("^griffe|warning", built.stdout, re.IGNORECASE | re.MULTILINE):
        raise SystemExit("the site has warnings")
    shutil.copyfile(ROOT / ".env.example", SITE / ".env.example")  # Zensical leaves out names with a dot
    for page in SITE.rglob("*.html"):
        if found := LOADED.search(page.read_text(encoding="utf-8")):
            raise SystemExit(f"{page} needs the internet: {found[0]}")


def collect() -> None:
    """Collects the pages, and writes those that are made."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for file in _tracked(*COPIED):
        target = PAGES / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, target)
    reference = PAGES / "reference"
    reference.mkdir()
    document = _openapi()
    (reference / "openapi.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    (reference / "api.md").write_text(openapi_page(document), encoding="utf-8")
    for name, (title, described) in LIBRARIES.items():
        (reference / f"{name}.md").write_text(f"# {title}\n\n::: {described}\n", encoding="utf-8")
    pages = [page for section in sections().values() for page in section.values()]
    schemas = PAGES / "docs" / "schemas"
    schemas.mkdir()
    for name in SCHEMAS:
        text = json.dumps(schema(name), indent=1, default=dict)
        (schemas / f"{name}.schema.json").write_text(text, encoding="utf-8")
    texts = {page: (PAGES / page).read_text(encoding="utf-8") for page in pages}
    for page, text in texts.items():
        (PAGES / page).write_text(with_tabs(text), encoding="utf-8")
    (PAGES / "llms.txt").write_text(index(texts), encoding="utf-8")
    (PAGES / "docs" / "llms-full.txt").write_text(full_text(texts), encoding="utf-8")


def sections() -> dict[str, dict[str, str]]:
    """Returns the sections of the site in their order, with the pages of each by their titles."""
    config = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    found: dict[str, dict[str, str]] = {}
    for entry in config["project"]["nav"]:
        for section, pages in entry.items():
            each = [{section: pages}] if isinstance(pages, str) else pages
            found[section] = {title: page for one in each for title, page in one.items()}
    return found


def with_tabs(text: str) -> str:
    """Returns a page whose variants of the same are tabs."""
    return TABS.sub(lambda variants: TAB.sub(_tab, variants[1]), text)


def _tab(variant: re.Match[str]) -> str:
    return f'=== "{variant[1]}"\n{textwrap.indent(variant[2], "    ")}'


def index(texts: Mapping[str, str]) -> str:
    """Returns llms.txt: the pages of each section with their headings, for programs that choose what to read."""
    title, first, *_ = re.split(r"\n\n", texts["README.md"])
    lines = [
        title,
        "",
        f"> {' '.join(first.split())}",
        "",
        "All pages in one file: [llms-full.txt](docs/llms-full.txt)",
    ]
    for section, pages in sections().items():
        lines += ["", f"## {section}", ""]
        for name, page in pages.items():
            address = re.sub(r"README\.md$", "index.html", page).replace(".md", ".html")
            headings = re.findall(r"^## (.+)$", CODE.sub("", texts[page]), re.MULTILINE)
            lines.append(f"- [{name}]({address}){': ' * bool(headings)}{'; '.join(headings)}")
    return "\n".join(lines) + "\n"


def full_text(texts: Mapping[str, str]) -> str:
    """Returns the text of all pages in the order of the site; those of the libraries are made from docstrings."""
    return "\n".join(f"<!-- {page} -->\n\n{text}" for page, text in texts.items() if "\n::: " not in text)


def openapi_page(document: Part) -> str:
    """Returns the page in Markdown: a section for each tag, with the operations of that tag."""
    lines = ["# The HTTP API", "", _text(document["info"]["description"]), ""]
    lines += [
        "The same as a document for programs: [openapi.json](openapi.json). A running server shows it at `/docs`.",
        "",
        "The native dialect is `start`. `jobs`, `status`, `translate` and `result` are the wire formats of earlier",
        "systems: see [Coming from …](../docs/coming-from.md).",
        "",
    ]
    for tag in document["tags"]:
        found = [
            (f"{method.upper()} {path}", operation)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
            if operation["tags"][0] == tag["name"]
        ]
        lines += [f"## {tag['name']}", ""] * bool(found)
        for request, operation in found:
            lines += _operation(request, operation, document)
    return "\n".join(lines)


def _operation(request: str, operation: Part, document: Part) -> Iterator[str]:
    text = operation["description"] if "description" in operation else f"{operation['summary']}."
    yield from (f"### `{request}`", "", _text(text), "")
    parameters = operation.get("parameters", [])
    if parameters:
        yield from _table(
            ("parameter", "in", "type", "meaning"),
            [(f"`{one['name']}`", one["in"], _type(one["schema"]), one.get("description", "")) for one in parameters],
        )
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = _resolved(content["schema"], document)
        yield from (f"The body, as `{media_type}`:", "")
        yield from _properties(schema)
    answers = []
    for code, answer in operation["responses"].items():
        resolved = _resolved(answer, document)
        headers = ", ".join(f"`{name}`" for name in resolved.get("headers", {}))
        answers.append((code, resolved["description"], headers))
    yield from _table(("answer", "meaning", "headers"), answers)
    for answer in operation["responses"].values():
        for media_type, content in answer.get("content", {}).items():
            if media_type == "application/json" and "example" in content:
                yield from ("```json", json.dumps(content["example"], indent=2), "```", "")


def _properties(schema: Part) -> Iterator[str]:
    properties = schema.get("properties", {})
    if properties:
        rows = [(f"`{name}`", _type(one), one.get("description", "")) for name, one in properties.items()]
        yield from _table(("field", "type", "meaning"), rows)
    else:
        yield from (_type(schema), "")


def _type(schema: Part) -> str:
    if "$ref" in schema:
        return f"`{schema['$ref'].rsplit('/', 1)[1]}`"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(map(_type, schema[several])))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _resolved(part: Part, document: Part) -> Part:
    if "$ref" not in part:
        return part
    found: Any = document
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return _resolved(found, document)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(_text(str(cell)).replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def _text(text: str) -> str:
    return " ".join(text.split())


def _openapi() -> dict[str, Any]:
    with TranslationServer() as server:
        document: dict[str, Any] = httpx.get(f"{server.url}/openapi.json", auth=("reader", "any")).json()
    return document


def _tracked(*patterns: str) -> list[str]:
    globs = [f":(glob){pattern}" if "*" in pattern else pattern for pattern in patterns]
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *globs]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


if __name__ == "__main__":
    main()
