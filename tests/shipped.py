"""The shipped APIs as their files describe them: each kind of job, and how a caller starts one."""

from dataclasses import dataclass
from functools import cached_property
from itertools import count

from translation_client import AsyncClient, Client, Sandbox
from translation_client.dialect_files import find_dialect
from translation_server.api.dialect_endpoint import FAULT_ACTIONS
from translation_server.app import OWN_NAMES
from translation_server.config.dialect_files import read_dialects
from translation_server.core.dialects.dialect import Dialect
from translation_server.core.job import State

NOT_SENT = {"view", "delete"}  # the operations that our client does not send
UNIQUE = count(1)


@dataclass(frozen=True)
class Kind:
    """A kind of job of a shipped API."""

    served: Dialect  # as the server has it

    def __str__(self):
        return f"{self.served.api.name}#{self.served.kind}"

    @cached_property
    def read(self):
        """The dialect as the client has it."""
        return find_dialect(str(self))

    @cached_property
    def sent(self):
        """The operations that our client sends."""
        return [
            one
            for one in self.served.operations
            if one.action not in NOT_SENT and (one.action != "download" or one.requests[0].method == "GET")
        ]

    @property
    def routes(self):
        """What fault rules call the requests that our client sends."""
        return {FAULT_ACTIONS[one.action] for one in self.sent} | ({"download"} if self.served.file_types else set())

    def has(self, action):
        return any(one.action == action for one in self.sent)

    @cached_property
    def parameters(self):
        """A value for each parameter of the paths that our client needs."""
        names = {name for one in self.sent for name in one.requests[0].parameters}
        return dict.fromkeys(sorted(names - {"job_id"}), "any")

    def input(self):
        """Returns the fields that a submission must have, with new values; another one where it must have none."""
        fields = {} if self.served.required else {"prompt": f"v{next(UNIQUE)}"}
        split = next(one.split for one in self.sent if one.action == "submit")
        for path, *_ in self.served.required:
            *parents, name = path.split(".")
            place = fields
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = [f"v{next(UNIQUE)}"] if path == split else f"v{next(UNIQUE)}"
        return fields

    @property
    def submit_has_body(self):
        """Whether the answer to a submission has a body."""
        return self.read.operation("submit").answers[State.PENDING].body not in ("", None)

    @property
    def has_cancelled(self):
        """Whether a cancelled job looks different from a failed one."""
        return self.served.words[State.CANCELLED] != self.served.words[State.ERROR]

    def client(self, client, sandbox: Sandbox, **options) -> Client | AsyncClient:
        """Opens a client of the API for the user of a sandbox."""
        login = {"token": f"{sandbox.username}:{sandbox.password}"}
        if self.read.auth == "sigv4":
            login = {"username": sandbox.username, "password": sandbox.password}
        url = sandbox.url + self.served.api.mount
        return client(url, dialect=str(self), parameters=self.parameters, **login, **options)


KINDS = [Kind(dialect) for dialect in read_dialects("all", OWN_NAMES)]
"""All kinds of jobs of all shipped APIs."""
