"""The exit statuses, and the errors that lead to them."""

from translation_client.core.errors import AuthenticationError, InvalidRequest, NotFound, TranslationError
from translation_client.core.status import JobFailed, JobTimeout

DONE, FAILED, USAGE, REFUSED, TIMED_OUT, UNREACHABLE = range(6)
SIGNALLED = 128  # plus the number of the signal that ended the command, as shells report it
UNREAD = 141  # as shells report a program that SIGPIPE ended


class UsageError(Exception):
    """The command line is unusable; the message says what to change."""


def exit_status(error: TranslationError) -> int:
    """Returns the exit status for an error of the library."""
    match error:
        case JobFailed():
            return FAILED
        case AuthenticationError():
            return REFUSED
        case JobTimeout():
            return TIMED_OUT
        case NotFound() | InvalidRequest():
            return USAGE
        case _:
            return UNREACHABLE
