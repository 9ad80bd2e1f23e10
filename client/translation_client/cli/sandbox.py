"""The commands for the sandbox and the report card."""

import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from translation_client.cli.arguments import Options, UsageError
from translation_client.cli.display import write
from translation_client.cli.login import Login
from translation_client.cli.work import naming_flags
from translation_client.sandbox import Sandbox

FOUND = 1
"""The exit status where the report card has what `--fail-on` names."""

FORMS = {
    "text": ("text/plain", "^warning ", "^note "),
    "json": ("application/json", '"severity": ?"warning"', '"severity": ?"note"'),
    "junit": ("application/xml", "<failure ", "<system-out>"),
}
"""How a report card is asked for in each form, and what a warning and a note look like in it."""


def sandbox(options: Options, login: Login) -> int:
    """Do what `sandbox` and `report` say and return the exit status.

    Raises:
        TranslationError: The server does not do it.
        UsageError: An option is unusable.
    """
    with naming_flags(), Sandbox(login.url, username=login.username, password=login.password) as asked:
        if options.command == "report":
            return _report(options, asked)
        if options.action == "requests":
            return _requests(options, asked)
        write(*_json(options, ACTIONS[options.action or "show"](asked, options)).split("\n"))
    return 0


def _report(options: Options, asked: Sandbox) -> int:
    form = options.format or ("json" if options.json else "text")
    if options.json and form != "json":
        raise UsageError(f"--json and --format {form} exclude each other: give one of the two")
    media, warning, note = FORMS[form]
    card = _json(options, asked.report().raw) if form == "json" else asked.report_as(media).rstrip("\n")
    if form == "junit":
        card = "".join(char if char.isprintable() or char == "\n" else f"&#{ord(char)};" for char in card)
    write(*card.split("\n"))
    failing = {"never": (), "warnings": (warning,), "notes": (warning, note)}[options.fail_on]
    return FOUND if any(re.search(finding, card, re.MULTILINE) for finding in failing) else 0


def _requests(options: Options, asked: Sandbox) -> int:
    """Write the request log as it arrives: only the server knows how long it is."""
    between = "["
    for request in asked.requests():
        sys.stdout.write(between + _json(options, request))
        between = ", "
    sys.stdout.write("[]\n" if between == "[" else "]\n")
    return 0


def _json(options: Options, document: object) -> str:
    """The document in ASCII, so that nothing in it tells a terminal anything."""
    return json.dumps(document, indent=None if options.json else 2)


def _clock(asked: Sandbox, options: Options) -> Mapping[str, Any]:
    if options.advance is options.speed is options.frozen is None:
        raise UsageError("sandbox clock needs --advance, --speed, --freeze or --unfreeze")
    return asked.clock(advance=options.advance, speed=options.speed, frozen=options.frozen)


def _settings(given: tuple[str, ...]) -> dict[str, object]:
    """Settings as `name=value`; the value is JSON, or else text, as a seed is even where it looks like a number."""
    settings: dict[str, object] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise UsageError(f"sandbox set takes NAME=VALUE, not {each!r}")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
        if name == "seed" and isinstance(settings[name], int | float):
            settings[name] = value
    return settings


ACTIONS: Mapping[str, Callable[[Sandbox, Options], object]] = {
    "show": lambda asked, _: asked.show(),
    "set": lambda asked, options: asked.set(**_settings(options.settings)),
    "scenario": lambda asked, options: asked.scenario(options.scenario),
    "scenarios": lambda asked, _: asked.scenarios(),
    "clock": _clock,
    "pause": lambda asked, options: [asked.pause(job_id).get("job") for job_id in options.ids],
    "unpause": lambda asked, options: [asked.unpause(job_id).get("job") for job_id in options.ids],
    "finish": lambda asked, options: [
        asked.finish(job_id, options.outcome, options.message).get("job") for job_id in options.ids
    ],
    "reset": lambda asked, _: asked.reset(),
}
