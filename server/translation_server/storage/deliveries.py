"""Reads deliveries of webhooks, in the same way from every SQL database.

Theory of operation: `next_event_at` of a job and `next_at` of a delivery have partial indexes, so jobs without a
webhook and deliveries without another attempt cost nothing. To find the owners who have something to deliver, a
recursive statement jumps from one owner in these indexes to the next, however many jobs each of them has.
"""

from collections.abc import Mapping

from translation_server.core.change_feed import LAST, FeedPosition
from translation_server.core.clock import VirtualTime
from translation_server.core.job import Job
from translation_server.core.webhook_events import event_position
from translation_server.core.webhooks import Delivery
from translation_server.storage.pages import PageReader
from translation_server.storage.rows import delivery_of, owner_of
from translation_server.storage.statements import DATA_KEY, after

IS_CURRENT = """
    EXISTS (SELECT TRUE FROM owners WHERE name = found.owner AND data_key IS NULL)
    OR EXISTS (SELECT TRUE FROM owners WHERE data_key = found.owner)
"""
"""The condition for the keys in use: the rows of sandboxes that were reset have others, see `DATA_KEY`."""


def _owners(table: str, column: str) -> str:
    """Returns a statement for the owners with a value in a column, and their least values, by its partial index."""
    first = f"SELECT min(owner) FROM {table} WHERE {column} IS NOT NULL"
    return f"""
        WITH RECURSIVE found(owner) AS (
            {first} UNION ALL SELECT ({first} AND owner > found.owner) FROM found WHERE found.owner IS NOT NULL
        )
        SELECT owner, (SELECT min({column}) FROM {table} WHERE owner = found.owner AND {column} IS NOT NULL)
        FROM found WHERE {IS_CURRENT}
    """


OWNERS = [_owners("jobs", "next_event_at"), _owners("deliveries", "next_at")]

BY_EVENT = "next_event_at, ordinal"
JOBS_TO_NOTIFY = after("next_event_at", "TRUE", until="next_event_at <= :now")

DELIVERIES_DUE = f"""
    SELECT document FROM deliveries
    WHERE owner = {DATA_KEY} AND next_at <= :now AND next_at >= :at AND (next_at, id) > (:at, :id)
    ORDER BY next_at, id LIMIT :limit
"""

DELIVERIES = f"""
    SELECT document FROM deliveries WHERE owner = {DATA_KEY} AND (ordinal, stage) < (:ordinal, :stage)
    ORDER BY ordinal DESC, stage DESC LIMIT :limit
"""

FIND_DELIVERY = f"SELECT document FROM deliveries WHERE owner = {DATA_KEY} AND id = :id"

CHANGED_DELIVERY = f"SELECT owner, document FROM deliveries WHERE owner = {DATA_KEY} AND id = :id"

GONE_URLS = f"SELECT DISTINCT gone_url FROM deliveries WHERE owner = {DATA_KEY} AND gone_url IS NOT NULL"

ALLOW_URL = f"UPDATE deliveries SET gone_url = NULL WHERE owner = {DATA_KEY} AND gone_url = :url"

LEASE = """
    INSERT INTO leases AS held VALUES (:owner, :holder, :now + :seconds)
    ON CONFLICT (owner) DO UPDATE SET holder = excluded.holder, until = excluded.until
    WHERE held.holder = excluded.holder OR held.until < :now
    RETURNING TRUE
"""

RELEASE = "DELETE FROM leases WHERE owner = :owner AND holder = :holder"


class DeliveryReader(PageReader):
    """The part of a Store in a SQL database that reads deliveries."""

    async def owners_to_notify(self) -> Mapping[str, VirtualTime]:
        found: dict[str, VirtualTime] = {}
        for statement in OWNERS:
            for key, at in await self._fetch(statement, {}):
                owner = owner_of(key)
                found[owner] = min(at, found.get(owner, at))
        return found

    async def jobs_to_notify(self, owner: str, position: FeedPosition, now: VirtualTime, limit: int) -> list[Job]:
        parameters = {"owner": owner, "now": now, "limit": limit, **position._asdict()}
        jobs = await self._jobs(JOBS_TO_NOTIFY, BY_EVENT, parameters)
        return sorted(jobs, key=event_position)[:limit]

    async def deliveries_due(
        self, owner: str, position: tuple[float, str], now: VirtualTime, limit: int
    ) -> list[Delivery]:
        at, last_id = position
        return await self._deliveries(DELIVERIES_DUE, owner=owner, at=at, id=last_id, now=now, limit=limit)

    async def deliveries(self, owner: str, *, limit: int, before: tuple[int, int] | None = None) -> list[Delivery]:
        ordinal, stage = before or (LAST, 0)
        return await self._deliveries(DELIVERIES, owner=owner, ordinal=ordinal, stage=stage, limit=limit)

    async def find_delivery(self, owner: str, delivery_id: str) -> Delivery | None:
        found = await self._deliveries(FIND_DELIVERY, owner=owner, id=delivery_id)
        return found[0] if found else None

    async def gone_urls(self, owner: str) -> set[str]:
        return {row[0] for row in await self._fetch(GONE_URLS, {"owner": owner})}

    async def _deliveries(self, statement: str, **parameters: object) -> list[Delivery]:
        return [delivery_of(row[0]) for row in await self._fetch(statement, parameters)]
