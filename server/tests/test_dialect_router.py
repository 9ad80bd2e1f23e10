"""Finding the route of a request: patterns of paths, and which of several counts."""

import pytest

from translation_server.api.dialect_router import DialectRouter
from translation_server.core.dialects.dialect import Api, Dialect, DialectError
from translation_server.core.dialects.operations import Answer, Operation, RequestPattern, Where
from translation_server.core.dialects.routes import routes
from translation_server.core.job import State

WORDS = {state: (state.value,) for state in State}


def operation(request, action="poll", where=None):
    patterns = [RequestPattern(*one.split()) for one in ([request] if isinstance(request, str) else request)]
    return Operation(action=action, requests=patterns, where=where or Where(), answers=dict.fromkeys(State, Answer()))


def router(*operations, mount=""):
    dialect = Dialect(name="x", api=Api(name="x", mount=mount), words=WORDS, operations=operations)
    return DialectRouter(routes([dialect]))


def found(router, method, path):
    """Returns the pattern that matches a request, and its parameters."""
    match = router.match(method, path)
    return match and (str(match.routes[0].pattern), match.parameters(match.routes[0]))


@pytest.mark.parametrize(
    ("pattern", "path", "parameters"),
    [
        ("/jobs", "/jobs", {}),
        ("/jobs/{job_id}", "/jobs/a", {"job_id": "a"}),
        ("/jobs/{job_id}", "/jobs/a\nb", {"job_id": "a\nb"}),
        ("/jobs/{job_id}", "/jobs/", None),
        ("/jobs/{job_id}", "/jobs/a/b", None),
        ("/jobs/{job_id}", "/jobs/a\n/", None),
        ("/jobs", "/jobs\n", None),
        ("/jobs", "/jobs/", None),
        ("/v1.0/jobs", "/v1x0/jobs", None),
        ("/models/{model}:predict", "/models/m:predict", {"model": "m"}),
        ("/models/{model}:predict", "/models/a:b:predict", {"model": "a:b"}),
        ("/models/{model}:predict", "/models/:predict", None),
        ("/models/{model}:predict", "/models/a/b:predict", None),
        ("/apps/{app:path}/jobs/{job_id}", "/apps/a/b/c/jobs/1", {"app": "a/b/c", "job_id": "1"}),
        ("/apps/{app:path}/jobs/{job_id}", "/apps/jobs/1", None),
        ("/jobs/{job_id:path}", "/jobs/a\n/b", {"job_id": "a\n/b"}),
        ("/v1/{job_id=operations/*}", "/v1/operations/7", {"job_id": "operations/7"}),
        ("/v1/{job_id=operations/*}", "/v1/operations/7/8", None),
        ("/v1/{job_id=operations/*}", "/v1/others/7", None),
        ("/v1/{job_id=a/*/b/*}:cancel", "/v1/a/1/b/2:cancel", {"job_id": "a/1/b/2"}),
        ("/v1/{job_id=a/**}", "/v1/a/1/b/2", {"job_id": "a/1/b/2"}),
        ("/(x)+*.$", "/(x)+*.$", {}),
        ("/(x)+*.$", "/xx", None),
    ],
)
def test_patterns_match_whole_paths(pattern, path, parameters):
    expected = parameters if parameters is None else (f"GET /api{pattern}", parameters)
    assert found(router(operation(f"GET {pattern}"), mount="/api"), "GET", f"/api{path}") == expected


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/models", "/models"),
        ("/others", "/{name}"),
        ("/models/m:predict", "/models/{name}:predict"),
        ("/models/m", "/models/{name}"),
        ("/x/m", "/{name}/m"),
        ("/models/a/b", "/{name:path}"),
    ],
)
@pytest.mark.parametrize("direction", [1, -1])
def test_the_most_specific_pattern_counts_in_any_order(path, pattern, direction):
    patterns = ["/{name:path}", "/{name}", "/models", "/models/{name}", "/models/{name}:predict", "/{name}/m"]
    operations = [operation(f"GET {one}") for one in patterns[::direction]]
    assert found(router(*operations), "GET", path)[0] == f"GET {pattern}"


def test_polls_by_prefix_leave_out_paths_of_more_specific_patterns():
    some = router(
        operation("GET /st/{job_id}"),
        operation("GET /{kind}/summary", "result"),
        operation("GET /deep/{job_id}"),
        operation("GET /{app:path}/the/last", "result"),
        operation("GET /ids/{job_id}"),
        operation("GET /ids/v{number}", "result"),
        operation("GET /short/{job_id}/more", "result"),
        mount="/api",
    )
    assert found(some, "GET", "/api/st/summary")[0] == "GET /api/{kind}/summary"
    assert found(some, "GET", "/api/deep/the/last")[0] == "GET /api/{app:path}/the/last"
    assert found(some, "GET", "/api/ids/v1")[0] == "GET /api/ids/v{number}"
    assert some.polls_by_prefix() == {}


def test_polls_by_prefix_have_paths_that_less_specific_patterns_match_too():
    some = router(
        operation("GET /jobs/{job_id}"),
        operation("GET /jobs", "list"),
        operation("GET /jobs/{job_id}/events", "result"),
        operation("GET /{kind}/{name}", "result"),
        operation("GET /{name:path}", "result"),
        mount="/api",
    )
    assert {prefix: str(route.pattern) for prefix, route in some.polls_by_prefix().items()} == {
        "/api/jobs": "GET /api/jobs/{job_id}"
    }


@pytest.mark.parametrize(
    ("other", "prefixes"),
    [
        ("/jobs/{job_id:path}/events", {"/jobs": "GET /jobs/{job_id:path}"}),
        ("/{name:path}", {"/jobs": "GET /jobs/{job_id:path}"}),
        ("/{kind:path}/longer-than-jobs", {}),
    ],
)
def test_polls_by_prefix_may_have_ids_of_several_segments(other, prefixes):
    some = router(operation("GET /jobs/{job_id:path}"), operation(f"GET {other}", "result"))
    assert {prefix: str(route.pattern) for prefix, route in some.polls_by_prefix().items()} == prefixes
    assert found(some, "GET", "/jobs/a/b") == ("GET /jobs/{job_id:path}", {"job_id": "a/b"})


def test_other_routes_are_left_to_the_framework():
    poll = operation("GET /jobs/{job_id:path}")
    dialect = Dialect(name="x", api=Api(name="x"), words=WORDS, operations=[poll])
    some = DialectRouter(routes([dialect]), [RequestPattern("GET", "/jobs/{job_id:path}/events")])
    assert some.match("GET", "/jobs/a/b/events") is None
    assert some.methods("/jobs/a/events") == set()
    assert found(some, "GET", "/jobs/events") == ("GET /jobs/{job_id:path}", {"job_id": "events"})


def test_methods_are_those_of_all_patterns_of_a_path():
    some = router(
        operation("GET /{name}"), operation("POST /jobs", "submit"), operation("DELETE /jobs/{job_id}", "delete")
    )
    assert some.methods("/jobs") == {"GET", "POST"}
    assert some.methods("/jobs/1") == {"DELETE"}
    assert some.methods("/a/b/c") == set()
    assert some.match("PUT", "/jobs") is None


def test_operations_of_one_path_share_a_match_and_have_names_of_their_own():
    one = operation("POST /jobs/{name}", "submit", Where(header={"x-target": "a"}))
    other = operation("POST /jobs/{job_id}", "cancel", Where(header={"x-target": "b"}))
    match = router(one, other).match("POST", "/jobs/7")
    assert [(route.action, match.parameters(route)) for route in match.routes] == [
        ("submit", {"name": "7"}),
        ("cancel", {"job_id": "7"}),
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Where(), Where()),
        (Where(header={"a": "1"}), Where(query={"a": "2"})),
        (Where(header={"a": "1"}, query={"b": "1"}), Where(header={"c": "1"}, query={"b": "1"})),
        (Where(body={"a.b": 1}), Where(body={"a": 2})),
    ],
)
def test_operations_that_a_request_could_both_mean_are_refused(one, other):
    with pytest.raises(DialectError, match="POST /jobs is taken by the dialect x"):
        router(operation("POST /jobs", "result", one), operation("POST /jobs", "cancel", other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Where(header={"a": "1"}), Where()),
        (Where(), Where(body={"a": 2})),
        (Where(query={"a": "1"}), Where(header={"b": "1"}, query={"a": "1"})),
    ],
)
def test_operations_of_which_one_is_narrower_share_a_path(one, other):
    match = router(operation("POST /jobs", "result", one), operation("POST /jobs", "cancel", other)).match(
        "POST", "/jobs"
    )
    assert {route.action for route in match.routes} == {"result", "cancel"}


def test_there_may_be_hundreds_of_patterns():
    some = router(*(operation(f"GET /api{number}/{{name}}/x/{{job_id}}") for number in range(500)))
    assert found(some, "GET", "/api499/a/x/1") == ("GET /api499/{name}/x/{job_id}", {"name": "a", "job_id": "1"})


@pytest.mark.parametrize("piece", ["/", ":", "a/", "a", "/jobs/", "/x:", "\n"])
def test_long_paths_take_linear_time(piece):
    some = router(
        operation("GET /{app:path}/jobs/{job_id}:cancel"),
        operation("GET /v1/{name=a/*/b/**}/x/{job_id}:y"),
        operation("GET /{model}:predict"),
        operation("GET /{a}/{b}/{c}/{d}:z"),
    )

    for _ in range(20):  # a pattern in quadratic time takes minutes
        some.match("GET", "/v1/a/1/b/" + piece * (64_000 // len(piece)) + "!")
