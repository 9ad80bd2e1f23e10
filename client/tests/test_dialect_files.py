"""Checks of dialects, and reading them from files."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.custom_dialect import MINE
from translation_client import AsyncClient, Client
from translation_client.core.dialects import DIALECTS, Listing
from translation_client.dialect_files import find_dialect

HEYGEN = Path(__file__).parents[2] / "examples" / "dialects" / "heygen.toml"

TOML = """
[mine]
submit = "/tasks"
poll = "/tasks/{job_id}"
job = {id = "{job_id}", state = "{status}"}
words = {pending = "busy", completed = "done", error = "failed"}
"""

UNUSABLE = [
    (("[mine]", "[Mine]"), "[Mine] must have an unused name in lower case"),
    (("[mine]", "[status]"), "[status] must have an unused name in lower case"),
    (("[mine]", "[job]"), "[job] must have an unused name in lower case"),
    (("[mine]", "[docs]"), "[docs] must have an unused name in lower case"),
    (("[mine]", "other = 5\n[mine]"), "[other] must be a table"),
    (("poll =", "pol ="), "[mine] pol: there is no such field; the fields are poll, job, words,"),
    (("poll =", "#"), "[mine] poll: is required"),
    (('submit = "/tasks"', 'submitt = "/tasks"'), "[mine] submitt: there is no such field"),
    (('submit = "/tasks"', 'submit = "/tasks/{job_id}"'), "[mine] submit: must be a path"),
    (('submit = "/tasks"', "cancel = '/tasks'"), "[mine] cancel: there is no such field"),
    (('"/tasks/{job_id}"', '"tasks/{job_id}"'), "[mine] poll: must be a path"),
    (('"/tasks/{job_id}"', '"/tasks/{id}"'), "[mine] poll: must be a path"),
    (('"/tasks/{job_id}"', '"/{job_id}/{job_id}"'), "[mine] poll: must be a path"),
    (('"/tasks/{job_id}"', '""'), "[mine] poll: must be a path"),
    (('"/tasks/{job_id}"', "[]"), "[mine] poll: must be a path"),
    (('"/tasks/{job_id}"', "5"), "[mine] poll: must be a path"),
    (("job =", "job = 5 #"), "[mine] job: must be a table"),
    (('"{job_id}"', '"{job}"'), "[mine] job: there is no field job; the fields are job_id, status,"),
    (('"{status}"', '"status"'), '[mine] job: must contain "{status}"'),
    (('"{status}"', '"{status}", at = 1979-05-27'), "[mine] job: must be valid JSON"),
    (('"{status}"', '"{status}", more = [{x = nan}]'), "[mine] job: must be valid JSON"),
    (('pending = "busy", ', ""), "[mine] words.pending: must be a word"),
    (('"busy"', '""'), "[mine] words.pending: must be a word"),
    (('"busy"', '["busy", 5]'), "[mine] words.pending: must be a word"),
    (('"failed"', '"failed", cancelled = []'), "[mine] words.cancelled: must be a word"),
    (('"failed"', '"failed", gone = "gone"'), "[mine] words.gone: there is no such state"),
    (('"done"', '["ready", "busy"]'), "[mine] words: 'busy' cannot mean both pending and completed"),
    (('"failed"', '"failed", cancelled = "done"'), "[mine] words: 'done' cannot mean both completed and cancelled"),
    (("words =", "words = 5 #"), "[mine] words: must be a table"),
    (
        ("[mine]", "[mine]\nrequest = {to = '{status}'}"),
        "[mine] request: there is no field status; the fields are job_id",
    ),
    (
        ("[mine]", "[mine]\naccepted = {to = '{state}'}"),
        "[mine] accepted: there is no field state; the fields are job_id",
    ),
    (("[mine]", "[mine]\nauth = 'two words'"), "[mine] auth: must be basic, bearer or the name of a header"),
    (("[mine]", "[mine]\nauth = 5"), "[mine] auth: must be basic, bearer or the name of a header"),
    (("[mine]", "[mine]\naccepted_code = 404"), "[mine] accepted_code: must be a whole number from 200 to 299"),
    (("[mine]", "[mine]\naccepted_code = true"), "[mine] accepted_code: must be a whole number from 200 to 299"),
    (("[mine]", "[mine"), "cannot be read as TOML"),
    ((TOML, ""), "must define a dialect, such as [mine]"),
]


class TestDialectFiles:
    @pytest.mark.parametrize(("change", "message"), UNUSABLE)
    def test_unusable_dialect_is_reported_in_one_line_with_file_and_name(self, change, message):
        Path("mine.toml").write_text(TOML.replace(*change))
        with pytest.raises(ValueError, match=r"^dialect mine\.toml: ") as raised:
            Client(dialect="mine.toml")
        assert message in str(raised.value)
        assert "\n" not in str(raised.value)
        assert raised.value.__cause__ is None

    @pytest.mark.parametrize(
        "change",
        [
            ("", ""),
            ('"/tasks/{job_id}"', '["/tasks/{job_id}", "/tasks/{job_id}/x"]'),
            ('"/tasks/{job_id}"', '"/{job_id}"'),
            ('"busy"', '["busy", "queued"]'),
            ('"failed"', '"failed", cancelled = "failed"'),
            ("[mine]", "[mine]\naccepted = {ok = true, more = [1.5, 'x']}\naccepted_code = 200\nauth = 'BEARER'"),
        ],
    )
    def test_usable_dialects_are_read(self, change):
        Path("mine.toml").write_text(TOML.replace(*change))
        dialect = find_dialect(Path("mine.toml"))
        assert dialect.name == "mine"
        assert dialect.request_fields == {"source_language", "target_language", "video_length", "simulate"}

    def test_file_of_several_dialects_needs_a_choice(self):
        Path("two#1.toml").write_text(TOML + TOML.replace("mine", "other").replace("/tasks/{", "/others/{"))
        assert find_dialect("two#1.toml#other").path == "/others/{job_id}"
        assert find_dialect("two#1.toml#mine").path == "/tasks/{job_id}"
        for reference in ("two#1.toml", "two#1.toml#third"):
            with pytest.raises(
                ValueError, match=rf"^dialect {reference}: choose one of two#1.toml#mine, two#1.toml#other$"
            ):
                find_dialect(reference)
        Path("two#1.toml").write_text(TOML + TOML.replace("mine", "other").replace("status", "state"))
        with pytest.raises(ValueError, match=r"\[other\] job: there is no field state"):
            find_dialect("two#1.toml#mine")

    def test_unknown_name_and_unreadable_file_are_refused(self):
        with pytest.raises(ValueError, match=r"^dialect translat: is neither one of start, jobs, .* nor a file$"):
            Client(dialect="translat")
        for folder in (".", "a\0b"):
            with pytest.raises(ValueError, match="cannot be read as TOML"):
                AsyncClient(dialect=folder)
        Path("latin.toml").write_bytes(b"\xe4")
        with pytest.raises(ValueError, match="cannot be read as TOML"):
            Client(dialect=Path("latin.toml"))

    def test_example_dialect_is_read(self):
        dialect = find_dialect(HEYGEN)
        assert (dialect.name, dialect.submit, dialect.path) == (
            "heygen",
            "/v2/video_translate",
            "/v2/video_translate/{job_id}",
        )
        assert dialect.auth == "X-Api-Key"
        assert dialect.request_fields == {"target_language"}
        assert dialect.meanings == {
            "pending": "pending",
            "running": "pending",
            "success": "completed",
            "failed": "error",
        }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"poll": "nowhere"}, "poll: must be a path"),
        ({"cancel": "nowhere"}, "cancel: must be a path"),
        ({"poll": "/state", "list": Listing("/jobs")}, 'list: needs "{job_id}" in poll and in job'),
        ({"job": {"state": "{status}"}, "list": Listing("/jobs")}, 'list: needs "{job_id}" in poll and in job'),
        ({"words": {}}, "words.pending: must be a word"),
    ],
)
def test_dialect_object_is_checked_too(change, message):
    with pytest.raises(ValueError, match=r"^dialect \[mine\] ") as raised:
        replace(MINE, **change)
    assert message in str(raised.value)


def test_dialect_is_found_by_name_or_passed_through():
    assert [find_dialect(name).name for name in DIALECTS] == list(DIALECTS) == [*DIALECTS]
    assert find_dialect(MINE) is MINE
