"""The migrations of a PostgreSQL database: the statements that lead from each version of the schema to the next.

The version is the number of migrations that were applied. A released migration never changes, so it consists of
literals, and this module imports nothing; a test holds a digest of each.
"""

MIGRATIONS = (
    (
        """
        CREATE TABLE owners (
            name     TEXT PRIMARY KEY,
            jobs     BIGINT NOT NULL DEFAULT 0,
            requests BIGINT NOT NULL DEFAULT 0,
            world    TEXT
        )
        """,
        """
        CREATE TABLE jobs (
            owner           TEXT NOT NULL,
            ordinal         BIGINT NOT NULL,
            id              TEXT NOT NULL,
            created_at      DOUBLE PRECISION NOT NULL,
            delay           DOUBLE PRECISION NOT NULL,
            outcome         TEXT NOT NULL CHECK (outcome IN ('completed', 'error')),
            message         TEXT,
            source_language TEXT,
            target_language TEXT,
            video_length    DOUBLE PRECISION,
            cancelled_at    DOUBLE PRECISION,
            held_at         DOUBLE PRECISION,
            held_for        DOUBLE PRECISION NOT NULL,
            changed_at      DOUBLE PRECISION NOT NULL,
            idempotency_key BYTEA,
            fingerprint     BYTEA,
            PRIMARY KEY (owner, ordinal),
            UNIQUE (owner, id)
        )
        """,
        "CREATE UNIQUE INDEX jobs_by_key ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL",
        "CREATE INDEX jobs_by_change ON jobs (owner, changed_at)",
        "CREATE INDEX jobs_by_end ON jobs (owner, (created_at + delay + held_for))",
        "CREATE INDEX jobs_held ON jobs (owner) WHERE held_at IS NOT NULL",
        """
        CREATE TABLE tallies (
            owner   TEXT NOT NULL,
            subject TEXT NOT NULL,
            count   BIGINT NOT NULL,
            PRIMARY KEY (owner, subject)
        )
        """,
        """
        CREATE TABLE requests (
            owner  TEXT NOT NULL,
            number BIGINT NOT NULL,
            entry  TEXT NOT NULL,
            PRIMARY KEY (owner, number)
        )
        """,
    ),
    (
        "DROP INDEX jobs_by_end",
        "DROP INDEX jobs_held",
        """
        CREATE INDEX jobs_by_end ON jobs (
            owner,
            (coalesce(cancelled_at, CASE WHEN held_at IS NULL THEN created_at + delay + held_for END))
        )
        """,
    ),
    (
        "DROP INDEX jobs_by_end",
        """
        CREATE INDEX jobs_by_end ON jobs (
            owner,
            (coalesce(cancelled_at, CASE WHEN held_at IS NULL THEN created_at + delay + held_for ELSE 1e+300 END))
        )
        """,
        "DROP INDEX jobs_by_change",
        "CREATE INDEX jobs_amended ON jobs (owner, changed_at) WHERE changed_at <> created_at",
        "CREATE INDEX jobs_by_outcome ON jobs (owner, outcome, ordinal)",
        "CREATE INDEX jobs_cancelled ON jobs (owner, ordinal) WHERE cancelled_at IS NOT NULL",
    ),
    (
        "ALTER TABLE owners ADD COLUMN generation BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE owners ADD COLUMN kept_under TEXT",
        "ALTER TABLE owners ADD COLUMN counted_under TEXT",
        """
        CREATE TABLE emptied (
            relation TEXT NOT NULL,
            owner    TEXT NOT NULL,
            PRIMARY KEY (relation, owner)
        )
        """,
        "DROP INDEX jobs_by_end",
        """
        CREATE INDEX jobs_by_end ON jobs (
            owner,
            (coalesce(cancelled_at, CASE WHEN held_at IS NULL THEN created_at + delay + held_for ELSE 1e+300 END)),
            ordinal
        )
        """,
        "DROP INDEX jobs_amended",
        "CREATE INDEX jobs_amended ON jobs (owner, changed_at, ordinal) WHERE changed_at <> created_at",
    ),
    (
        "ALTER TABLE jobs RENAME COLUMN held_at TO paused_at",
        "ALTER TABLE jobs RENAME COLUMN held_for TO paused_for",
        "ALTER INDEX jobs_amended RENAME TO jobs_by_change",
        "ALTER TABLE owners RENAME COLUMN world TO sandbox",
        "ALTER TABLE owners RENAME COLUMN kept_under TO data_key",
        "ALTER TABLE owners RENAME COLUMN counted_under TO count_key",
        "ALTER TABLE tallies RENAME TO fault_counts",
        "ALTER INDEX tallies_pkey RENAME TO fault_counts_pkey",
        "UPDATE fault_counts SET subject = 'poll' || substr(subject, 5) WHERE subject LIKE 'look %'",
        "UPDATE fault_counts SET subject = 'batch_poll' || substr(subject, 5) WHERE subject LIKE 'bulk %'",
        "ALTER TABLE emptied RENAME TO purge_queue",
        "ALTER INDEX emptied_pkey RENAME TO purge_queue_pkey",
        "UPDATE purge_queue SET relation = 'fault_counts' WHERE relation = 'tallies'",
        "ALTER TABLE requests RENAME COLUMN entry TO record",
        """
        UPDATE requests SET record = replace(replace(replace(record,
            '"moment":', '"virtual_at":'),
            '"action":"look"', '"action":"poll"'),
            '"action":"bulk"', '"action":"batch_poll"')
        """,
    ),
    (
        """
        CREATE TABLE secrets (
            name  TEXT PRIMARY KEY,
            value BYTEA NOT NULL
        )
        """,
    ),
    (
        "ALTER TABLE jobs ADD COLUMN api TEXT NOT NULL DEFAULT 'native'",
        "ALTER TABLE jobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'translation'",
        "ALTER TABLE jobs DROP CONSTRAINT jobs_owner_id_key",
        "CREATE UNIQUE INDEX jobs_by_id ON jobs (owner, id, api, kind)",
    ),
    (
        "ALTER TABLE jobs ADD COLUMN after_polls BIGINT",
        "ALTER TABLE jobs ADD COLUMN polls BIGINT NOT NULL DEFAULT 0",
    ),
    (
        "ALTER TABLE jobs ADD COLUMN code TEXT",
        "ALTER TABLE jobs ADD COLUMN output TEXT",
        "ALTER TABLE jobs ADD COLUMN echo TEXT NOT NULL DEFAULT ''",
        """
        CREATE TABLE inputs (
            owner   TEXT NOT NULL,
            ordinal BIGINT NOT NULL,
            input   TEXT NOT NULL,
            PRIMARY KEY (owner, ordinal)
        )
        """,
    ),
    ("ALTER TABLE jobs ADD COLUMN deleted_at DOUBLE PRECISION",),
    ("ALTER TABLE jobs ADD COLUMN changed_before DOUBLE PRECISION",),
    (
        "ALTER TABLE jobs ADD COLUMN webhook TEXT",
        "ALTER TABLE jobs ADD COLUMN notified BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN next_event_at DOUBLE PRECISION",
        "CREATE INDEX owners_by_data_key ON owners (data_key) WHERE data_key IS NOT NULL",
        "CREATE INDEX jobs_by_event ON jobs (owner, next_event_at) WHERE next_event_at IS NOT NULL",
        """
        CREATE TABLE deliveries (
            owner    TEXT NOT NULL,
            ordinal  BIGINT NOT NULL,
            stage    BIGINT NOT NULL,
            id       TEXT NOT NULL,
            next_at  DOUBLE PRECISION,
            gone_url TEXT,
            document TEXT NOT NULL,
            PRIMARY KEY (owner, ordinal, stage)
        )
        """,
        "CREATE INDEX deliveries_by_id ON deliveries (owner, id)",
        "CREATE INDEX deliveries_due ON deliveries (owner, next_at) WHERE next_at IS NOT NULL",
        "CREATE INDEX deliveries_gone ON deliveries (owner, gone_url) WHERE gone_url IS NOT NULL",
        """
        CREATE TABLE leases (
            owner  TEXT PRIMARY KEY,
            holder TEXT NOT NULL,
            until  DOUBLE PRECISION NOT NULL
        )
        """,
    ),
    (
        """
        CREATE TABLE shown_ends (
            owner   TEXT NOT NULL,
            ordinal BIGINT NOT NULL,
            PRIMARY KEY (owner, ordinal)
        )
        """,
    ),
    ("ALTER TABLE jobs ADD COLUMN pauses TEXT NOT NULL DEFAULT ''",),
)
