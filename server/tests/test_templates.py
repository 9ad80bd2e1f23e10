"""Templates: what they render, what they read, and what is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_server.core.dialects.filters import FILTERS
from translation_server.core.dialects.rendering import renderer
from translation_server.core.dialects.template import (
    TemplateError,
    fill,
    names,
    overlaid,
    parse,
    paths,
    read,
    value_at,
)

KNOWN = dict.fromkeys(("a", "b", "c", "input.", "file_url:")) | dict.fromkeys(("at", "created_at"), FILTERS["rfc3339"])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
PARTS = (
    "{a}",
    "{b}",
    "{c}",
    "{a | text}",
    "{b | number}",
    "{input.c | percent}",
    "{omit}",
    "{null}",
    "{c | or_omit}",
    "{?a,c}",
    "{&b}",
    "{{",
    "}}",
    "%",
    "%s",
    "é",
)
TEXTS = st.lists(
    st.sampled_from(PARTS) | st.text().map(lambda text: text.replace("{", "").replace("}", "")), max_size=4
)
TEMPLATES = st.recursive(
    TEXTS.map("".join) | st.none() | st.booleans() | st.integers(-(2**62), 2**62),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def filled(template, **values):
    return fill(parse(template, KNOWN), values.get)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{a}", 1),
        ("{c}", None),
        ("x{a}y", "x1y"),
        ("{a}{b}", "1%s"),
        ("x{c}", None),
        ({"k": "x{c}", "l": "{c}"}, {"l": None}),
        (["x{c}", "{c}", "{omit}", "{null}"], [None, None]),
        ({"k": "x{c | or_null}", "l": "x{a | or_null}", "m": "{c | or_null}{a}"}, {"k": None, "l": "x1", "m": None}),
        (["x{c | or_null}", "x{c}"], [None]),
        ({"k": "{c | or_omit}", "l": "{a | or_omit}", "m": "x{c | or_omit}"}, {"l": 1}),
        (["{c | or_omit}", "{a | or_omit}"], [1]),
        ("/x{?a,c}", "/x?a=1"),
        ("/x{?c}", "/x"),
        ("/x?y=1{&c,b}", "/x?y=1&b=%25s"),
        ("{?input.x.a,b | text}", "?b=%25s"),
        ({"k": "{omit}", "l": "{null}", "m": None}, {"l": None, "m": None}),
        ({"k": {"l": "{omit}"}, "m": ["{omit}"]}, {"k": {}, "m": []}),
        ("{omit}", None),
        ("{{a}}", "{a}"),
        ("{{{a}}}", "{1}"),
        ("{{}}{a}", "{}1"),
        ("100 % of {a} %s %%", "100 % of 1 %s %%"),
        ({"%s {a}": "%d"}, {"%s {a}": "%d"}),
        ("", ""),
        (" {a}", " 1"),
        ("{ a }", 1),
        ("{input.x.y-z_1}", None),
        ("{file_url:mp4}", None),
        ([True, False, 1.5, None, [], {}], [True, False, 1.5, None, [], {}]),
        (("{a}",), [1]),
    ],
)
def test_placeholders_are_replaced(template, expected):
    assert filled(template, a=1, b="%s") == expected


def test_values_within_a_text_are_text():
    assert filled("{a}/{b}", a=True, b={"x": [1, "ü"]}) == 'true/{"x":[1,"ü"]}'
    assert filled("{a}/{b}", a=1.5, b="x") == "1.5/x"


@pytest.mark.parametrize(
    ("template", "value", "expected"),
    [
        ("{at}", 1.5, "1970-01-01T00:00:01.500Z"),
        ("{created_at | unix}", 1.9, 1),
        ("{created_at | unix_seconds}", 1, 1.0),
        ("{created_at | unix_ms}", 1.5, 1500),
        ("{created_at | rfc3339}", 0, "1970-01-01T00:00:00.000Z"),
        ("{created_at | without_zone}", 1.5, "1970-01-01T00:00:01.500000"),
        ("{input.a | percent}", 0.999, 99),
        ("{input.a | ms}", 0.0011, 2),
        ("{input.a | seconds}", 0.1, 1),
        ("{input.a | lines}", ["x", "y"], "x\ny"),
        ("{input.a | text}", 5, "5"),
        ("{input.a | text}", "x", "x"),
        ("{input.a | number}", "7", 7),
        ("{input.a | number}", "7.5", 7.5),
        ("{input.a | number}", 7, 7),
        ("{input.a | unix | text}", 7.5, "7"),
        ("{created_at | or_null | unix}", 7.5, 7),
        ("at {at | or_null}", 1.5, "at 1970-01-01T00:00:01.500Z"),
        ("at {input.a|unix}!", 7.5, "at 7!"),
    ],
)
def test_filters_convert_values(template, value, expected):
    assert filled(template, **dict.fromkeys(("at", "created_at", "input.a"), value)) == expected


@pytest.mark.parametrize("name", FILTERS)
@given(value=JSON)
def test_no_value_breaks_a_filter(name, value):
    json.loads(
        json.dumps(filled([f"{{input.a | {name}}}", f"x{{input.a | {name}}}"], **{"input.a": value}), allow_nan=False)
    )


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "9" * 5000, "1e999", 10**4000, -(10**4000), 1e308])
@pytest.mark.parametrize("name", FILTERS)
def test_no_number_that_json_does_not_have_breaks_a_filter(name, value):
    json.dumps(filled(f"{{input.a | {name}}}", **{"input.a": value}), allow_nan=False)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{x}",
            "there is no placeholder x; the placeholders are a, b, c, input.…, file_url:…, at, created_at, omit, null",
        ),
        ({"k": [{"l": "t{x}"}]}, "there is no placeholder x"),
        ("{a | unix}", "a cannot have the filter unix, which is for created_at, completed_at"),
        ("{}", "there is no placeholder {}"),
        ("{a.b}", "there is no placeholder a.b"),
        ("{input.}", "there is no placeholder input."),
        ("{input}", "there is no placeholder input"),
        ("{a:b}", "there is no placeholder a:b"),
        ("{a | nothing}", "there is no filter nothing; the filters are rfc3339"),
        ("{a | }", "there is no filter"),
        ("{a", "single brace"),
        ("a}", "single brace"),
        ("{a}}", "single brace"),
        (float("nan"), "only what JSON can"),
        (float("inf"), "only what JSON can"),
        (2**63, "only what JSON can"),
        (object(), "only what JSON can"),
        (b"x", "only what JSON can"),
    ],
)
def test_other_templates_are_refused(template, message):
    with pytest.raises(TemplateError) as refused:
        parse(template, KNOWN)
    assert message in str(refused.value)


@given(template=TEMPLATES, values=st.fixed_dictionaries(dict.fromkeys(("a", "b", "c", "input.c"), JSON)))
def test_a_rendering_is_always_json_whenever_its_values_are_filled_in(template, values):
    node = parse(template, KNOWN)
    render = renderer(node)
    once, later = render(values.get, ()), render(values.get, {"a"})
    assert json.loads(once.complete(values.get)) == fill(node, values.get)
    assert once.missing == []
    json.loads(later.complete(values.get))
    json.loads(later.complete({}.get))
    assert names(node) <= {"a", "b", "c", "input.c", "omit", "null"}


@given(JSON)
def test_constants_stay_as_they_are(document):
    node = parse(doubled(document), KNOWN)
    assert fill(node, {}.get) == document
    assert read(node, document) == ({}, [])


def doubled(document):
    """Returns a document as a template: with doubled braces."""
    match document:
        case str():
            return document.replace("{", "{{").replace("}", "}}")
        case list():
            return [doubled(one) for one in document]
        case dict():
            return {key: doubled(value) for key, value in document.items()}
    return document


def test_changing_values_are_filled_in_later():
    render = renderer(parse({"k": "{a}", "t": "%{a}{b}", "l": ["{b}"]}, KNOWN))
    rendering = render({"b": "%s"}.get, {"a"})
    assert rendering.text == '{"k":%s,"t":%s,"l":["%%s"]}'
    assert json.loads(rendering.complete({"a": 7, "b": "%s"}.get)) == {"k": 7, "t": "%7%s", "l": ["%s"]}
    assert json.loads(rendering.complete({}.get)) == {"k": None, "t": None, "l": ["%s"]}


@pytest.mark.parametrize(
    ("document", "values", "unknown"),
    [
        ({"k": 1, "l": [2, {"m": 3}]}, {"a": 1, "b": 2, "c": 3}, []),
        ({}, {}, []),
        ({"k": None}, {"a": None}, []),
        ({"x": 1, "l": [2, {"m": 3, "y": 4}, 5]}, {"b": 2, "c": 3}, ["x", "l[1].y", "l[2]"]),
        ({"l": {"m": 1}}, {}, ["l"]),
        ({"l": [2, 3]}, {"b": 2}, ["l[1]"]),
        ({"fixed": "another"}, {}, []),
    ],
)
def test_documents_are_read_where_the_template_has_placeholders(document, values, unknown):
    node = parse({"k": "{a}", "l": ["{b}", {"m": "{c}"}], "fixed": "text"}, KNOWN)
    assert read(node, document) == (values, unknown)


def test_paths_lead_to_placeholders_that_stand_alone():
    node = parse({"k": "{a}", "l": ["x", {"m": "{b}"}], "t": "x{c}"}, KNOWN)
    assert paths(node) == {"a": "k", "b": "l[1].m"}


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ({"a": 1, "b": {"c": 2}}, {"b": {"d": 3}}, {"a": 1, "b": {"c": 2, "d": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": 5}, {"a": 5}),
        ({"a": 5}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": 5}, {"a": None}, {"a": None}),
        ("x", "", ""),
        ({"a": 1}, {}, {"a": 1}),
    ],
)
def test_a_template_is_laid_over_another(one, other, both):
    assert overlaid(one, other) == both


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a", {"b": [{"c": 1}]}),
        ("a.b.0.c", 1),
        ("a.b.1.c", None),
        ("a.b.-1", None),
        ("a.b.c", None),
        ("x.y", None),
        ("", None),
        ("text", '{"b": [{"c": 1}], "n": NaN}'),
        ("text.b.0.c", 1),
        ("text.n", None),
        ("text.x", None),
        ("broken.b", None),
        ("deep.b", None),
        ("word.b", None),
    ],
)
def test_values_are_found_at_dotted_paths(path, value):
    texts = {"text": '{"b": [{"c": 1}], "n": NaN}', "broken": '{"b"', "deep": "[" * 100_000, "word": "b"}
    assert value_at({"a": {"b": [{"c": 1}]}} | texts, path) == value
