"""Waiting for several jobs by batch polls, or one by one."""

import pytest

from tests.batch_player import (
    ALL_COMPLETED,
    COMPLETED,
    UNREADABLE,
    BatchPlayer,
    events,
    is_job_poll,
    job,
    no_stream,
    silent,
    streaming,
    without_stream,
)
from translation_client import (
    AuthenticationError,
    Fixed,
    Hinted,
    JobTimeout,
    Learned,
    NotFound,
    ProtocolError,
    Status,
    TransportError,
)
from translation_client.core.decode import ParsedStatus
from translation_client.core.effects import Chunk, Failure, Listen, Reply, Send, WaitFailed
from translation_client.core.estimator import History
from translation_client.core.status import State
from translation_client.core.wait_many import MAX_BATCH_IDS

MANY = [str(n) for n in range(250)]


@pytest.mark.parametrize("code", [404, 405, 406, 422])
def test_batch_polls_have_a_hundred_jobs(code):
    def polls(player, effect):
        return player.batch_answer(effect, {} if player.now < 30 else dict.fromkeys(MANY, "completed"))

    player = BatchPlayer(no_stream(polls, code), ids=MANY)
    assert set(player.ends.values()) == {State.COMPLETED}
    assert len(player.requests) == 1 + 4 * 3


def test_long_ids_make_smaller_batches():
    ids = [f"{n:0>900}" for n in range(20)]
    script = no_stream(lambda player, effect: player.batch_answer(effect, {}, unknown=effect.query["job_id"]))
    player = BatchPlayer(script, ids=ids)
    assert set(player.ends.values()) == {NotFound}
    assert max(len("".join(poll.query["job_id"])) for poll in player.polls) <= MAX_BATCH_IDS


def test_server_without_batch_polls_is_polled_one_by_one():
    def script(player, effect):
        path = effect.send.path if isinstance(effect, Listen) else effect.path
        if path.startswith("/status/"):
            job_id = path.rpartition("/")[2]
            return player.reply({}, 404) if job_id == "b" else player.reply(job(job_id, "completed"))
        return player.reply({"title": "Not Found"}, 404)

    player = BatchPlayer(script)
    assert player.ends == {"a": State.COMPLETED, "b": NotFound, "c": State.COMPLETED}
    assert any("one by one" in text for text in player.warnings)


def test_dialect_without_ids_is_polled_by_its_schedule():
    def script(player, _):
        return player.reply({"status": "completed" if player.now >= 20 else "pending"})

    player = BatchPlayer(script, ids=["current"], dialect="status")
    assert (player.ends, player.now) == ({"current": State.COMPLETED}, 20)


def test_missing_or_unreadable_job_in_a_batch_fails_alone():
    page = {"jobs": [job("a", "completed"), job("b", "pending", progress="much")], "unknown": []}
    player = BatchPlayer(no_stream(lambda player, _: player.reply(page)))
    assert player.ends == {"a": State.COMPLETED, "b": ProtocolError, "c": ProtocolError}
    messages = [str(one.error) for one in player.results if isinstance(one, WaitFailed)]
    begins = [f"GET /jobs failed for job {job_id} (3 in a row): expected a " for job_id in "bc"]
    assert [message[: len(begin)] for message, begin in zip(messages, begins, strict=True)] == begins
    assert all(
        message.endswith("The jobs are not affected: when the server is well, wait again.") for message in messages
    )


@pytest.mark.parametrize("where", [Listen, Send])
def test_refused_credentials_end_the_wait_for_all(where):
    def script(player, effect):
        return player.reply({}, 401) if isinstance(effect, where) else player.reply({}, 404)

    with pytest.raises(AuthenticationError):
        BatchPlayer(script)


def test_persistent_failures_end_the_wait_for_all():
    player = BatchPlayer(lambda player, _: Failure("no route", player.now))
    assert player.ends == dict.fromkeys("abc", TransportError)


def test_last_batch_poll_is_at_the_deadline():
    script = streaming(silent, lambda player: {"b": "completed"} if player.now >= 30 else {})
    player = BatchPlayer(script, timeout=30.0)
    assert player.ends == {"a": JobTimeout, "b": State.COMPLETED, "c": JobTimeout}
    assert player.now == 30
    assert next(result for result in player.results if result.id == "a" and isinstance(result, WaitFailed)).error.token


def test_last_poll_covers_all_batches():
    script = without_stream(lambda now: dict.fromkeys(MANY, "completed") if now >= 2 else {})
    player = BatchPlayer(script, ids=MANY, timeout=4.0, schedule=Fixed(60))
    assert set(player.ends.values()) == {State.COMPLETED}


def test_last_poll_covers_all_jobs_without_batch_polls():
    def script(player, effect):
        if is_job_poll(effect):
            return player.job_answer(effect, COMPLETED if player.now >= 2 else {})
        return player.reply({}, 404)

    assert BatchPlayer(script, timeout=4.0, schedule=Fixed(60)).ends == ALL_COMPLETED


def test_last_polls_share_one_allowance_and_begin_with_the_stalest_job():
    ids = [str(n) for n in range(1000)]
    script = without_stream(lambda now: dict.fromkeys(ids, "completed") if now >= 3 else {}, takes=0.01)
    player = BatchPlayer(script, ids=ids, timeout=4.0, schedule=Fixed(60))
    assert 4 < player.now <= 4.04
    assert [player.ends[job_id] for job_id in ids[:300]] == [State.COMPLETED] * 300
    assert player.ends[ids[-1]] is JobTimeout


def test_failed_last_poll_does_not_stop_the_other_batches():
    @no_stream
    def script(player, effect):
        if player.now >= 4 and "0" in effect.query["job_id"]:
            return Failure("it broke off", player.now)
        return player.batch_answer(effect, dict.fromkeys(MANY, "completed") if player.now >= 2 else {})

    ends = BatchPlayer(script, ids=MANY, timeout=4.0, schedule=Fixed(60)).ends
    assert [*ends.values()].count(State.COMPLETED) == 150
    assert ends["0"] is JobTimeout


@pytest.mark.parametrize(("code", "document"), UNREADABLE)
@pytest.mark.parametrize("proven", [False, True])
def test_unreadable_batch_poll_is_retried(code, document, proven):
    @no_stream
    def script(player, effect):
        assert not is_job_poll(effect)
        if len(player.polls) in ({2, 3} if proven else {1, 2}):
            return player.reply(document, code)
        return player.batch_answer(effect, COMPLETED if len(player.polls) > 3 else {})

    assert BatchPlayer(script).ends == ALL_COMPLETED


WRONG = [{"job_id": "b", "status": 7}, {"job_id": "x", "status": "pending"}]
SINGLE = [(200, WRONG[0]), (200, WRONG[1]), (204, None), (404, None), (529, None)]


@pytest.mark.parametrize(("code", "document"), SINGLE)
@pytest.mark.parametrize("lasts", [False, True])
def test_unreadable_poll_of_a_known_job_is_retried(code, document, lasts):
    """Without batch polls; the other jobs go on meanwhile."""
    seen = dict.fromkeys("abc", 0)

    def script(player, effect):
        if not is_job_poll(effect):
            return player.reply({}, 404)
        job_id = effect.path[-1]
        seen[job_id] += 1
        if job_id == "b" and seen["b"] > 1 and (lasts or seen["b"] < 4):
            return player.reply(document, code)
        return player.job_answer(effect, {job_id: "completed"} if seen[job_id] > 1 else {})

    player = BatchPlayer(script, max_retries=4, schedule=Fixed(1))
    if code == 529 and lasts:
        assert player.ends["b"] is TransportError
    else:
        expected = (NotFound if code == 404 else ProtocolError) if lasts else State.COMPLETED
        assert player.ends == {"a": State.COMPLETED, "b": expected, "c": State.COMPLETED}


@pytest.mark.parametrize("lasts", [False, True])
@pytest.mark.parametrize("answer", [{"jobs": [], "unknown": ["b"]}, {"jobs": [], "unknown": []}])
def test_job_missing_from_a_batch_is_retried(answer, lasts):
    reads = iter([events(job("a", "completed"), job("c", "completed"))])

    def script(player, effect):
        if isinstance(effect, Listen):
            return Chunk(b"" if effect.send else next(reads), player.now)
        if len(player.polls) == 1 or (len(player.polls) > 3 and not lasts):
            return player.batch_answer(effect, {} if len(player.polls) == 1 else {"b": "completed"})
        left = [job(job_id) for job_id in effect.query["job_id"] if job_id != "b"]
        return player.reply(answer | {"jobs": left})

    def broken(player, effect):
        if isinstance(effect, Listen) and effect.send and len(player.streams) == 1:
            return Failure("no route", player.now)
        return script(player, effect)

    player = BatchPlayer(broken, schedule=Fixed(0.2), max_retries=4)
    expected = (NotFound if answer["unknown"] else ProtocolError) if lasts else State.COMPLETED
    assert player.ends == {"a": State.COMPLETED, "b": expected, "c": State.COMPLETED}


def test_job_timeout_reports_the_jobs_last_failure():
    @no_stream
    def script(player, effect):
        return player.reply({"jobs": [], "unknown": []}) if player.now >= 1 else player.batch_answer(effect, {})

    player = BatchPlayer(script, ids=["a"], schedule=Fixed(1), timeout=1.5)
    assert player.ends == {"a": JobTimeout}
    assert "the last failure: expected a job as a JSON object" in str(player.results[-1].error)


@pytest.mark.parametrize("number", [7, 2**63, -1, 10**30])
def test_numeric_ids_in_a_batch_become_their_text(number):
    reads = iter([events(job(number, "completed")), events(job(1.5, "error"))])

    def script(player, effect):
        if isinstance(effect, Listen):
            return Chunk(b"" if effect.send else next(reads), player.now)
        return player.reply({"jobs": [job(number), job(1.5)], "unknown": [3]})

    ends = BatchPlayer(script, ids=[str(number), "1.5", "3"]).ends
    assert ends == {str(number): State.COMPLETED, "1.5": State.ERROR, "3": NotFound}


def test_first_status_of_a_started_job_is_reported():
    known = ParsedStatus(Status("a", State.PENDING), None, None)
    remembered = {"a": (Reply(202, {}, b"", 0.0), known)}
    script = without_stream(lambda now: {"a": "completed"} if now >= 30 else {})
    player = BatchPlayer(script, ids=["a"], remembered=remembered)
    assert [result.state for result in player.results] == ["pending", "completed"]


def test_wait_ends_with_the_schedule():
    def plan():
        yield 0.0
        yield 1.0

    player = BatchPlayer(without_stream(), schedule=plan)
    assert player.ends == dict.fromkeys("abc", JobTimeout)
    assert "after the last poll of the schedule" in str(player.results[-1].error)
    assert player.now == 1


@pytest.mark.parametrize("yielded", [0, -5])
def test_schedule_of_zero_makes_no_busy_loop(yielded):
    player = BatchPlayer(without_stream(), schedule=lambda: (yielded for _ in range(99)), timeout=1.0)
    assert len(player.polls) <= 22


def test_schedule_that_yields_no_number_is_refused_for_several_jobs():
    with pytest.raises(ValueError, match=r"^schedule must yield seconds"):
        BatchPlayer(without_stream(), schedule=lambda: (None for _ in range(99)))


def test_each_failed_wait_is_reported_once_to_a_slow_caller():
    player = BatchPlayer(lambda player, _: Failure("no route", player.now), max_retries=0, timeout=0.5, caller=0.6)
    assert [result.id for result in player.results] == ["a", "b", "c"]
    assert {type(result.error) for result in player.results} == {TransportError}


def test_durations_are_learned_only_from_observed_ends():
    history = History()

    def statuses(now):
        return {"a": "completed"} if now < 5 else dict.fromkeys("ab", "completed") | {"c": "cancelled"}

    BatchPlayer(without_stream(statuses), schedule=Learned(history), kind="k")
    assert len(history.durations("k")) == 1


def test_hint_of_a_batch_poll_is_followed():
    hint = {"retry_after": "20", "retry_after_ms": "19500"}
    script = without_stream(lambda now: COMPLETED if now >= 40 else {}, **hint)
    player = BatchPlayer(script, schedule=Hinted(jitter=0))
    assert (len(player.polls), player.now) == (4, 58.5)
