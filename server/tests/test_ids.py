"""The ids of jobs: what templates are allowed, and what they make."""

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_server.config.dialect_format import ID, MAX_ID
from translation_server.config.dialect_shapes import FormatError
from translation_server.core.dialects.ids import new_id


@pytest.mark.parametrize(
    ("template", "form"),
    [
        ("{uuid}", r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
        ("video_{hex:32}", r"video_[0-9a-f]{32}"),
        ("{HEX:32}", r"[0-9A-F]{32}"),
        ("{digits:19}", r"[1-9][0-9]{18}"),  # a number as JSON writes it
        ("{base62:26}", r"[0-9A-Za-z]{26}"),
        ("operations/{hex:8}.{digits:4}", r"operations/[0-9a-f]{8}\.[1-9][0-9]{3}"),
        ("$1(+){digits:12}", r"\$1\(\+\)[1-9][0-9]{11}"),
    ],
)
@given(data=st.data())
def test_ids_have_the_form_of_their_template(template, form, data):
    assert ID.take(template, "id") == template
    made = new_id(template, lambda size: data.draw(st.binary(min_size=size, max_size=size)))
    assert re.fullmatch(form, made)


@given(st.binary(min_size=16, max_size=16))
def test_uuids_are_those_of_the_standard_library(random):
    assert new_id("{uuid}", lambda _: random) == str(uuid.UUID(bytes=random, version=4))


def test_each_random_part_is_drawn_anew():
    numbers = iter(range(1, 3))
    assert new_id("{hex:2}-{hex:2}", lambda size: bytes([0] * (size - 1) + [next(numbers)])) == "10-20"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", "at least 12 digits"),
        ("job", "at least 12 digits"),
        ("{digits:11}", "at least 12 digits"),
        ("{digits:6}{digits:5}", "at least 12 digits"),
        ("{hex:0}", "at least 12 digits"),
        ("{uuid:3}", ID.needed),
        ("{hex}", ID.needed),
        ("{random:32}", ID.needed),
        ("{hex:32", ID.needed),
        ("{hex:1000}", ID.needed),
        ("}{uuid}", ID.needed),
        ("x" * MAX_ID + "{uuid}", f"{MAX_ID} characters at most"),
        ("{hex:999}" * 2, f"{MAX_ID} characters at most"),
        ("{hex:999}" * 100_000, f"{MAX_ID} characters at most"),
    ],
    ids=lambda text: text[:20],
)
def test_templates_that_make_no_unique_id_are_refused(template, message):
    with pytest.raises(FormatError, match=re.escape(message)):
        ID.take(template, "id")
