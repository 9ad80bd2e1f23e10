"""The pure parts below the flows: answers, hints, statuses, errors."""

import copy
import json
import pickle
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

import translation_client
from translation_client import JobFailed, JobTimeout, State, Status, TranslationError, TransportError
from translation_client.core import decode, lists
from translation_client.core.builtin_dialects import DIALECTS, START
from translation_client.core.dialects import CURRENT
from translation_client.core.effects import Reply
from translation_client.core.errors import AuthenticationError, InvalidRequest, NotFound, ProtocolError
from translation_client.core.schedule import A_DAY, Exponential, retry_after
from translation_client.core.status import Observation

NOW = "Sun, 06 Nov 1994 08:49:37 GMT"


RETRY_AFTER = {
    0: ["0", "-5", "-0.5", "Sun, 06 Nov 1994 08:48:37 GMT"],
    0.5: [".5"],
    1.5: ["1.5"],
    2: ["2.0"],
    3: ["+3"],
    5: ["5.", "1, 5"],
    7: [" 7 ", "7,3,soon"],
    60: [
        *("Sun, 06 Nov 1994 08:50:37 GMT", "Sunday, 06-Nov-94 08:50:37 GMT", "Sun Nov  6 08:50:37 1994"),
        *("Sun, 06 Nov 1994 08:50:37 GMT, 5", "Sun, 06 Nov 1994 08:50:37 GMT, Sunday, 06-Nov-94 08:49:47 GMT"),
    ],
    90: ["90, Sun, 06 Nov 1994 08:50:37 GMT"],
    120: ["120"],
    1000: ["1e3"],
    A_DAY: ["9" * 400, "9" * 5000 + ".5", "1e99999", "Sun, 06 Nov 2094 08:49:37 GMT"],
    None: [
        *(
            "",
            "-",
            ".",
            ", ,",
            "soon",
            "5 seconds",
            "1e",
            "0x10",
            "1_000",
            "1.2.3",
            "inf",
            "nan",
            "٣",
            "9" * 5000 + "x",
        ),
        *("Sun, 06 Nov 99999999999999 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 +9999"),
    ],
}


@pytest.mark.parametrize(
    ("header", "seconds"), [(header, seconds) for seconds, headers in RETRY_AFTER.items() for header in headers]
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert retry_after({"retry-after": header, "date": NOW}) == seconds


@pytest.mark.parametrize(
    ("seconds", "milliseconds", "waits"),
    [
        (None, "1500", 1.5),
        ("2", "1500", 1.5),
        ("1", "50", 0.05),
        ("1", "1500", 1.5),
        ("5", "100", 5),
        ("soon", "100", 0.1),
        ("3", "soon", 3),
        ("3", "nan", 3),
        (None, "100, 2500", 2.5),
        (None, "1e400", A_DAY),
        (None, "9" * 400, A_DAY),
        (None, "-5", 0),
    ],
)
def test_retry_after_ms_refines_retry_after(seconds, milliseconds, waits):
    headers = {"retry-after-ms": milliseconds} | ({"retry-after": seconds} if seconds else {})
    assert retry_after(headers) == waits


def test_retry_after_date_needs_a_date_to_compare_with():
    assert retry_after({"retry-after": NOW}) is None
    assert retry_after({}) is None


@given(st.text(), st.text())
def test_any_retry_after_is_parsed_or_ignored(header, date):
    assert retry_after({"retry-after": header, "date": date}) is None or header.strip()


@given(st.floats(0.001, 10), st.floats(1, 10), st.floats(10, 100))
def test_exponential_schedule_grows_to_its_maximum(initial, factor, maximum):
    schedule = Exponential(initial, factor, maximum)()
    pending = Observation(Status("j1", State.PENDING), 0.0, None, "")
    delays = [next(schedule), *(schedule.send(pending) for _ in range(19))]
    assert delays[:2] == [0, initial]
    assert delays[1:] == sorted(delays[1:])
    assert max(delays) <= maximum


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
names = st.sampled_from(
    ["job_id", "status", "progress", "elapsed_time", "error_message", "jobs", "next", "errors", "title"]
)
documents = st.dictionaries(names, json_values | st.sampled_from(["j1", "pending"]))
bodies = st.binary() | documents.map(lambda document: json.dumps(document).encode())


@given(st.sampled_from([200, 202, 302, 401, 404, 418, 422]), bodies)
def test_any_answer_is_a_status_or_a_translation_error(code, body):
    reply = Reply(code, {}, body, 0.0)
    for dialect in DIALECTS.values():
        for read in (decode.read_job, decode.read_accepted):
            with suppress(TranslationError):
                assert read(dialect, reply, "j1").status.id in {"j1", CURRENT}
        message = str(decode.refusal(dialect, reply))
        assert message.isprintable()
        assert message.encode()
    with suppress(TranslationError):
        lists.read_page(START, reply)


@given(documents.map(lambda document: {"job_id": "j1", "status": "error"} | document))
def test_status_text_is_one_line(document):
    try:
        status, *_ = decode.read_accepted(START, Reply(200, {}, json.dumps(document).encode(), 0.0))
    except TranslationError:
        return
    assert "\n" not in str(status)
    str(status).encode()


ENDED = Status("j1", State.ERROR, 1.0, 4.0, "no\nsound")


def test_status_text():
    assert str(ENDED) == "j1 error 100% after 4.0 s: no sound"
    assert str(Status("j1", State.PENDING)) == "j1 pending"
    assert str(Status("j1", State.ERROR, error="x" * 1000)).endswith("x…")


def test_status_comparison_ignores_the_raw_document():
    assert Status("j1", State.PENDING, raw={"a": 1}) == Status("j1", State.PENDING, raw={"a": 2})
    assert len({ENDED, copy.copy(ENDED)}) == 1


def test_raise_for_error_raises_for_failed_and_cancelled_jobs():
    for state in (State.PENDING, State.COMPLETED):
        Status("j1", state).raise_for_error()
    with pytest.raises(JobFailed, match=r"no sound.*Start a new job") as raised:
        ENDED.raise_for_error()
    assert raised.value.status is ENDED
    with pytest.raises(JobFailed, match="gave no reason"):
        Status("j1", State.ERROR).raise_for_error()
    with pytest.raises(JobFailed, match="cancelled"):
        Status("j1", State.CANCELLED).raise_for_error()


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("no", 401),
        NotFound("no"),
        InvalidRequest("no", 422, ({"field": "f"},)),
        JobFailed("no", ENDED),
        JobTimeout("no", "j1", ENDED),
        JobTimeout("no", "j1", None),
        TransportError("no", "reset", 8),
        ProtocolError("no"),
    ],
)
def test_errors_survive_pickling_and_copying(error):
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - bytes of this test
        assert type(other) is type(error)
        assert vars(other) == vars(error)
        assert str(other) == "no"


def test_public_names_are_listed():
    assert set(translation_client.__all__) >= {name for name in vars(translation_client) if name[0].isupper()}
    assert translation_client.__version__
