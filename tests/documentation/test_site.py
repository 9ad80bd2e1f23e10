"""The site of the documentation; `make docs` builds it, and checks its links and anchors again."""

import re

import pytest

from tests.documentation.test_documentation import PAGES, ROOT
from tools.build_site import full_text, index, openapi_page, sections, with_tabs

BLOCK = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
TEXTS = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES}
LISTED = [page for section in sections().values() for page in section.values()]


def anchors(text):
    """Returns the anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", text), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", TEXTS)
def test_every_anchor_of_a_link_exists(page):
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", TEXTS[page])
    targets = [
        (str((ROOT / page).parent.joinpath(path).resolve().relative_to(ROOT)) if path else page, anchor)
        for path, anchor in links
    ]
    assert [(path, anchor) for path, anchor in targets if anchor not in anchors(TEXTS[path])] == []


def test_the_site_has_every_page_once():
    own = {page for page in TEXTS if page.startswith("docs/") and not page.startswith("docs/decisions/0")}
    assert own - set(LISTED) == set()
    assert len(set(LISTED)) == len(LISTED)
    assert [page for page in LISTED if not page.startswith("reference/") and page not in TEXTS] == []


def test_the_sections_are_in_the_order_of_what_a_reader_wants():
    assert list(sections()) == [
        "Start",
        "Test my client",
        "Wait for a job API",
        "Describe an API",
        "Receive webhooks",
        "Run it for a team",
        "How it works",
        "Reference",
    ]


def test_variants_of_the_same_become_tabs():
    page = (
        "<!-- tabs -->\n\n**Node**\n\nAfter:\n\n```js\na\n\nb\n```\n\n**Java**\n\n```java\nc\n```\n\n<!-- /tabs -->\n"
    )
    node = '=== "Node"\n\n    After:\n\n    ```js\n    a\n\n    b\n    ```\n\n'
    java = '=== "Java"\n\n    ```java\n    c\n    ```\n\n'
    assert with_tabs(f"Before.\n\n{page}") == f"Before.\n\n\n\n{node}{java}\n"


@pytest.mark.parametrize("page", TEXTS)
def test_every_mark_of_tabs_on_a_page_becomes_some(page):
    text = TEXTS[page]
    assert text.count("<!-- tabs -->") == text.count("<!-- /tabs -->")
    assert "<!-- tabs -->" not in with_tabs(text)
    assert ("<!-- tabs -->" in text) == (with_tabs(text).count('=== "') >= 2)


def test_the_texts_for_programs_have_every_page():
    texts = {page: TEXTS.get(page, "# Reference\n\n## `GET /x`\n") for page in LISTED}
    whole, listed = full_text(texts), index(texts)
    for page, text in texts.items():
        assert text in whole
        assert re.sub("README$", "index", page.removesuffix(".md")) + ".html" in listed


def test_the_page_of_the_api_has_every_operation_with_its_parameters_fields_and_answers():
    refused = {"description": "You are not\nknown.", "headers": {"WWW-Authenticate": {}}}
    body = {
        "properties": {"to": {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "a|b"}, "n": {"const": 1}}
    }
    operation = {
        "tags": ["start"],
        "summary": "Accept a job",
        "description": "Accepts a job.",
        "parameters": [{"name": "limit", "in": "query", "schema": {"type": "array", "items": {"$ref": "#/a/Item"}}}],
        "requestBody": {
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Body"}}, "text/x": {"schema": {}}}
        },
        "responses": {
            "202": {"description": "Accepted.", "content": {"application/json": {"example": {"job_id": "a"}}}},
            "401": {"$ref": "#/components/responses/REFUSED"},
        },
    }
    page = openapi_page(
        {
            "info": {"description": "An API."},
            "tags": [{"name": "start"}, {"name": "unused"}],
            "paths": {"/start": {"post": operation}},
            "components": {"schemas": {"Body": body}, "responses": {"REFUSED": refused}},
        }
    )
    assert re.findall("^#+ .*", page, re.MULTILINE) == ["# The HTTP API", "## start", "### `POST /start`"]
    assert "| `limit` | query | list of `Item` |  |" in page
    assert "| `to` | string or null | a\\|b |" in page
    assert "| `n` | `1` |  |" in page
    assert "| 401 | You are not known. | `WWW-Authenticate` |" in page
    assert '"job_id": "a"' in page
