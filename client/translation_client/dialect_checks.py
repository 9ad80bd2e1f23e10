"""Checks of a dialect file as a whole: whether its operations fit together, and whether requests are ambiguous.

The client's `dialect_checks.py` is a copy of the server's, by `make generate`.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from translation_client.dialect_shapes import FormatError, below, must, unknown
from translation_client.dialect_texts import has_filter, names_in

ACTIONS = ("submit", "poll", "result", "cancel", "delete", "list", "batch_poll", "download")
WITH_ID = ("poll", "result", "view", "cancel", "delete", "download")  # their requests have the id of a job
STATES = ("pending", "completed", "error", "cancelled")
PAGINGS = ("cursor", "offset", "number")
READ_BY_CODE = ("submit", "poll", "result")  # clients wait for their answers
REPEATED_AFTER = (408, 425, 429)  # the codes, besides 5xx, after which clients repeat a request
SERVER_ERROR = 500
NUMBERS = re.compile(r"\{digits:\d+\}")  # ids that are numbers
LISTS = ("list", "batch_poll")
PARAMETER = re.compile(r"\{(\w+)(?::path|=([^{}]+))?\}")


def parameters(job: Mapping[str, Any]) -> list[str]:
    """Returns the names of the parameters in the paths of a kind's submission, besides the job's id."""
    return sorted({name for _, path in job["submit"]["request"] for name in parameter_names(path)} - {"job_id"})


def parameter_names(path: str) -> list[str]:
    """Returns the names of the parameters in a path."""
    return [found[1] for found in PARAMETER.finditer(path)]


def form_of(path: str) -> str:
    """Returns a path with ` * ` in place of each parameter of one segment, and ` ** ` of each of several."""

    def wildcards(found: re.Match[str]) -> str:
        return re.sub(r"\*\*?", r" \g<0> ", found[2] or ("**" if found[0].endswith(":path}") else "*"))

    return PARAMETER.sub(wildcards, path)


def operations_of(job: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Returns the operations of a kind by their places in the file, such as `poll` and `view.words`."""
    found = {action: job[action] for action in ACTIONS if job[action] is not None}
    return found | {f"view.{name}": one for name, one in job["view"].items()}


def action_of(name: str) -> Any:  # noqa: ANN401 - one of the actions, which are literals
    """Returns the action of an operation at a place."""
    return name.partition(".")[0]


def phases(job: Mapping[str, Any]) -> list[str]:
    """Returns the words for pending that `when` may name."""
    return [word for word in job["words"]["pending"] if isinstance(word, str) and word not in STATES]


def check_kind(job: Mapping[str, Any], place: str) -> None:
    """Checks a kind of job as a whole."""
    _check_defaults(job, f"{place}.defaults")
    if "output" in dict(names_in(job["output"])).values():
        raise FormatError(f"{place}.output", "cannot hold {output}: this says what it is")
    operations = operations_of(job)
    for where, one in {place: job, **{f"{place}.{name}": one for name, one in operations.items()}}.items():
        _check_answers(job, one, where)
    for name, one in operations.items():
        action = action_of(name)
        if action in READ_BY_CODE:
            _check_codes(job, one, f"{place}.{name}")
        if action in LISTS:
            _check_listed(job, one, f"{place}.{name}")
        if one["job_id"]:
            _check_id_text(one, f"{place}.{name}")
        elif action in WITH_ID:
            _check_id_in_path(job, one, f"{place}.{name}.request")


def _check_answers(job: Mapping[str, Any], answers: Mapping[str, Any], place: str) -> None:
    """Checks that the states named in tables exist, and that clients can read the id."""
    states = [*STATES, *phases(job)]
    for state in answers["when"]:
        if state not in states:
            raise FormatError(below(f"{place}.when", state), unknown("state", states))
    for one in (answers, *answers["when"].values()):
        if has_filter(one["body"], "job_id", "number") and not NUMBERS.fullmatch(job["id"]):
            needed = f'id must be all digits, such as "{{digits:19}}", not "{job["id"]}"'
            raise FormatError(f"{place}.body", f"job_id cannot have the filter number: {needed}")


def _check_listed(job: Mapping[str, Any], operation: Mapping[str, Any], place: str) -> None:
    """Checks that clients can read the jobs of a list, and the parameters of its pages."""
    for one in (operation, *operation["when"].values()):
        for text, name in names_in(one["body"]):
            if name == "jobs" and text != "{jobs}":
                raise FormatError(f"{place}.body", f'must hold "{{jobs}}" alone and without a filter, not {text!r}')
    if page := operation.get("page"):
        _check_page(operation, page, f"{place}.page")
        for name, value in page["filter"].items():
            if "." not in value and value not in parameters(job):
                known = ", ".join(("input.…", "query.…", *parameters(job)))
                raise FormatError(below(f"{place}.page.filter", name), f"there is no {value}; there are {known}")


def _check_codes(job: Mapping[str, Any], operation: Mapping[str, Any], place: str) -> None:
    """Checks that no client takes an answer about a job for a temporary failure."""
    inherited = [job] if operation["body"] is None else []
    for answer in (operation, *(one for each in (*inherited, operation) for one in each["when"].values())):
        code = answer["code"]
        if code is not None and (code in REPEATED_AFTER or code >= SERVER_ERROR):
            raise FormatError(place, f"cannot answer with {code}: clients would send the request again")


def _check_defaults(job: Mapping[str, Any], place: str) -> None:
    fields = ["input", "query", "error_code", *parameters(job)]
    for name, value in job["defaults"].items():
        if name not in fields:
            raise FormatError(below(place, name), unknown("field", fields))
        if name == "error_code" and type(value) not in {str, int}:
            raise must(f"{place}.error_code", "a text or a whole number", value)
        if name in {"input", "query"} and not isinstance(value, Mapping):
            raise must(below(place, name), "a table of values by their names", value)


def _check_page(operation: Mapping[str, Any], page: Mapping[str, Any], place: str) -> None:
    """Checks that each parameter of a list has one meaning, and that one chooses the page if answers name the next."""
    meanings = [(key, page[key]) for key in ("size", *PAGINGS, "order", "status") if page[key] is not None]
    seen = dict.fromkeys(operation["where"]["query"], "where")
    several = [(key, name) for key in ("filter", "ignore") for name in page[key]]
    for key, name in (*meanings, *several):
        if (other := seen.setdefault(name, key)) != key:
            raise FormatError(f"{place}.{key}", f"{name} is the parameter of {other} too")
    answers = [operation, *operation["when"].values()]
    shown = {name for one in answers for _, name in names_in([one["body"], one["headers"]])}
    if "next" in shown and not any(page[key] for key in PAGINGS):
        raise FormatError(place, f"must have one of {', '.join(PAGINGS)}: the answer has {{next}}")


def _check_id_text(operation: Mapping[str, Any], place: str) -> None:
    """Checks that the text around an id has no other names than every path of the operation."""
    for name in parameter_names(operation["job_id"]["text"]):
        for _, path in operation["request"]:
            if name not in {"job_id", *parameter_names(path)}:
                raise FormatError(f"{place}.job_id.text", f"{name} is no parameter of {path}")


def _check_id_in_path(job: Mapping[str, Any], operation: Mapping[str, Any], place: str) -> None:
    """Checks that each path of an operation has the id, and room for all its segments."""
    for _, path in operation["request"]:
        parameter = next((found[0] for found in PARAMETER.finditer(path) if found[1] == "job_id"), None)
        if parameter is None:
            raise FormatError(place, "must hold {job_id}, or job_id must say where the id is")
        parts = re.split(r"( \*\*? )", form_of(parameter))
        expression = "".join({" * ": "[^/]+", " ** ": ".+"}.get(part, re.escape(part)) for part in parts)
        if not re.fullmatch(expression, re.sub(r"\{.*?\}", "x", job["id"])):
            problem = f'{parameter} in {path} does not fit ids such as "{job["id"]}"'
            raise FormatError(place, f"{problem}: write {{job_id:path}}, or say with job_id where else the id is")


class _Request(NamedTuple):
    """A request, with the conditions that distinguish it from those of other operations."""

    place: str
    form: tuple[str, str]
    where: Mapping[str, Any]
    shared: object = None

    def clashes(self, other: "_Request") -> bool:
        """Whether the same request could be meant for both."""
        pairs = list(zip(self.where.values(), other.where.values(), strict=True))
        excluded = any(one[name] != two[name] for one, two in pairs for name in one.keys() & two.keys())
        narrows = any(
            all(part.items() <= whole.items() for whole, part in each) and any(part != whole for whole, part in each)
            for each in (pairs, [(two, one) for one, two in pairs])
        )
        shared = self.shared is not None and self.shared == other.shared and self.place != other.place
        return self.form == other.form and not excluded and not narrows and not shared


def check_requests(file: Mapping[str, Any]) -> None:
    """Checks that no two operations have the same request; kinds of jobs may share one that has a job's id."""
    seen: list[_Request] = []
    operations = [(f"fixed.{name}", "", one) for name, one in file["fixed"].items()] + [
        (f"job.{kind}.{name}", name, operation)
        for kind, job in file["job"].items()
        for name, operation in operations_of(job).items()
    ]
    for place, name, operation in operations:
        if "untyped" in operation["accepts"] and not {"form", "any"}.isdisjoint(operation["accepts"]):
            raise FormatError(
                f"{place}.accepts", "untyped is JSON of any Content-Type: there cannot be form or any, too"
            )
        for method, path in operation["request"]:
            shared = (name, path, operation["job_id"]) if action_of(name) in WITH_ID else None
            request = _Request(place, (method, form_of(path)), operation["where"], shared)
            for other in seen:
                if request.clashes(other):
                    problem = f"{method} {path} is a request of {other.place} too"
                    raise FormatError(
                        f"{place}.request", f"{problem}: choose another path, or add a condition with where"
                    )
            seen.append(request)
