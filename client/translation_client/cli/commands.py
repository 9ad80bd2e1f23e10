"""The table of subcommands, and the parser that is built from it."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from translation_client import __version__
from translation_client.cli import jobs, listening, report, sandbox
from translation_client.cli.errors import UsageError
from translation_client.cli.options import Handler, Options, Parser, add_common, add_ids, program
from translation_client.cli.saving import check_output

EPILOG = """
Credentials and address come from the flags, else from API_USERNAME, API_PASSWORD (or API_PASSWORD_FILE) and SERVER_URL
in the environment, else from the same names in the file .env of the working directory. For a dialect that takes a
token, the names are API_TOKEN and API_TOKEN_FILE. On a terminal, the command prompts for missing credentials. If .env
names the server but not the credentials, or the other way round, a line on stderr says which server gets them.

exit status:
  0    the job completed, or the command did what it was asked for
  1    a job ended with an error or was cancelled, or the report card has findings that --fail-on names
  2    the command or the request was wrong
  3    the credentials were refused
  4    the time was up; the line on stderr shows how to resume the wait
  5    the server could not be reached, kept failing, or is another kind of server
  130  interrupted by Ctrl-C
With several jobs, the exit status is the highest of all. SIGTERM and SIGHUP do what Ctrl-C does, with 143 and 129.
"""


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        name: Its name on the command line.
        summary: What it does, for the help.
        handler: Runs the command and returns the exit status; with subcommands, only if none is given.
        arguments: Functions that add the command's own arguments to its parser.
        subcommands: Its subcommands.
    """

    name: str
    summary: str
    handler: Handler
    arguments: Sequence[Callable[[Parser], object]] = ()
    subcommands: Sequence["Command"] = ()


RUN_ARGUMENTS = (jobs.add_waiting, jobs.add_job, jobs.add_run)

COMMAND = Command(
    "translation-client",
    "start slow, asynchronous jobs and wait for their end well",
    jobs.RUN,
    RUN_ARGUMENTS,
    (
        Command("run", "start a job and wait for its end (the default)", jobs.RUN, RUN_ARGUMENTS),
        Command("start", "start a job and do not wait for it", jobs.START, (jobs.add_job,)),
        Command("status", "show the status of jobs; exit with 1 if one has failed", jobs.STATUS, (add_ids,)),
        Command("wait", "wait for the end of jobs", jobs.WAIT, (jobs.add_waiting, jobs.add_waited)),
        Command("list", "list your jobs, newest first", jobs.list_jobs, (jobs.add_listed,)),
        Command("cancel", "cancel jobs", jobs.CANCEL, (add_ids,)),
        Command("delete", "delete jobs, for a dialect that has a delete", jobs.DELETE, (add_ids,)),
        Command("listen", "show webhooks as they are delivered", listening.listen, (listening.add_listening,)),
        Command(
            "report",
            "show the report card on your client's requests",
            report.report,
            (report.add_grading,),
        ),
        Command(
            "sandbox",
            "show and change your sandbox on the server",
            sandbox.SHOW,
            (),
            (
                Command("show", "show the whole sandbox (the default)", sandbox.SHOW),
                Command("set", "change settings; null resets one", sandbox.SET, (sandbox.add_settings,)),
                Command("scenario", "choose a scenario", sandbox.SCENARIO, (sandbox.add_scenario,)),
                Command("scenarios", "list the scenarios", sandbox.SCENARIOS),
                Command(
                    "clock",
                    "freeze, unfreeze, speed up or advance the clock",
                    sandbox.CLOCK,
                    (sandbox.add_clock,),
                ),
                Command("pause", "keep jobs pending until they are unpaused or finished", sandbox.PAUSE, (add_ids,)),
                Command("unpause", "continue paused jobs", sandbox.UNPAUSE, (add_ids,)),
                Command("finish", "end pending jobs now", sandbox.FINISH, (sandbox.add_ending, add_ids)),
                Command("reset", "empty the sandbox: jobs, request log, faults, clock, settings", sandbox.RESET),
                Command("requests", "list the request log, the oldest request first", sandbox.requests),
            ),
        ),
    ),
)
"""The command with all its subcommands."""


def parse(argv: Sequence[str] | None) -> Options:
    """Reads the command line.

    Raises:
        UsageError: The command line is unusable.
        SystemExit: The help or the version has been printed.
    """
    parser = Parser(prog=program(), epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"translation-client {__version__}")
    _configure(parser, COMMAND)
    options = parser.parse_args(argv, Options())
    if options.idempotency_key is not None and options.jobs > 1:
        raise UsageError("with one --idempotency-key, all --jobs would be the same job; give only one of the two")
    if options.handler is jobs.WAIT and bool(options.ids) == options.pending:
        raise UsageError("wait takes either the ids of jobs or --pending")
    check_output(options)
    return options


def _configure(parser: Parser, command: Command) -> None:
    parser.description = f"{command.summary[0].upper()}{command.summary[1:]}."
    parser.set_defaults(handler=command.handler)
    for add_arguments in (add_common, *command.arguments):
        add_arguments(parser)
    if command.subcommands:
        parsers = parser.add_subparsers(title="commands", metavar="COMMAND")
        for subcommand in command.subcommands:
            _configure(parsers.add_parser(subcommand.name, help=subcommand.summary), subcommand)
