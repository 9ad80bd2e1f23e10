"""The table of subcommands, and the parser that is built from it."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from translation_client import __version__
from translation_client.cli import jobs, listening, listing, report, sandbox
from translation_client.cli.errors import DONE, UsageError
from translation_client.cli.options import Handler, Help, Options, Parser, add_common, add_ids, program
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

SHARED = """
The flags for the server, the credentials, the dialect and the output are the same for every command:
see translation-client --help.
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
        Command("list", "list your jobs, newest first", listing.list_jobs, (listing.add_listed,)),
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

SHELLS = ("bash", "zsh", "fish")


def parse(argv: Sequence[str] | None) -> Options:
    """Reads the command line.

    Raises:
        UsageError: The command line is unusable.
        SystemExit: The help or the version has been printed.
    """
    options = make_parser(program()).parse_args(argv, Options())
    if options.completion:
        options.handler = complete
    if options.idempotency_key is not None and options.jobs > 1:
        raise UsageError("with one --idempotency-key, all --jobs would be the same job; give only one of the two")
    if options.handler is jobs.WAIT and bool(options.ids) == options.pending:
        raise UsageError("wait takes either the ids of jobs or --pending")
    check_output(options)
    return options


def make_parser(name: str, *, repeats_shared: bool = False) -> Parser:
    """Makes the parser of a command with this name.

    Args:
        name: The command's name.
        repeats_shared: Whether the help of each subcommand repeats the flags that all of them share.
    """
    parser = Parser(prog=name, epilog=EPILOG, formatter_class=Help)
    parser.add_argument("--version", action="version", version=f"translation-client {__version__}")
    parser.add_argument("--completion", choices=SHELLS, help="print what a shell needs to complete this command")
    _configure(parser, COMMAND, hides_shared=False, repeats_shared=repeats_shared)
    return parser


def complete(options: Options) -> int:
    """Prints a script with which a shell completes the command. Imports shtab only now, because it takes time."""
    from translation_client.cli.completion import completion

    sys.stdout.write(completion(make_parser("translation-client", repeats_shared=True), str(options.completion)))
    return DONE


def _configure(parser: Parser, command: Command, *, hides_shared: bool, repeats_shared: bool) -> None:
    parser.description = f"{command.summary[0].upper()}{command.summary[1:]}."
    parser.set_defaults(handler=command.handler)
    if command.subcommands:
        parsers = parser.add_subparsers(title="commands", metavar="COMMAND", prog=parser.prog)
        for subcommand in command.subcommands:
            _configure(
                parsers.add_parser(subcommand.name, help=subcommand.summary, epilog=SHARED, formatter_class=Help),
                subcommand,
                hides_shared=not repeats_shared,
                repeats_shared=repeats_shared,
            )
    for add_arguments in command.arguments:
        add_arguments(parser)
    add_common(parser, hidden=hides_shared)
