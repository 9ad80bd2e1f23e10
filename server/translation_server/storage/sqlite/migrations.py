"""The migrations of a SQLite file: the statements that lead from each version of the schema to the next.

The version is the number of migrations that were applied. A released migration never changes, so it consists of
literals, and this module imports nothing; a test holds a digest of each.
"""

MIGRATIONS = (
    (
        """
        CREATE TABLE owners (
            name TEXT PRIMARY KEY,
            jobs INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE jobs (
            owner           TEXT NOT NULL,
            ordinal         INTEGER NOT NULL,
            id              TEXT NOT NULL,
            created_at      REAL NOT NULL,
            delay           REAL NOT NULL,
            outcome         TEXT NOT NULL CHECK (outcome IN ('completed', 'error')),
            cancelled_at    REAL,
            source_language TEXT,
            target_language TEXT,
            video_length    REAL,
            idempotency_key TEXT,
            fingerprint     BLOB,
            PRIMARY KEY (owner, ordinal),
            UNIQUE (owner, id)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE UNIQUE INDEX jobs_by_key ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL",
    ),
    (
        "CREATE INDEX jobs_by_beginning ON jobs (owner, created_at)",
        "CREATE INDEX jobs_by_end ON jobs (owner, created_at + delay)",
        "CREATE INDEX jobs_by_cancel ON jobs (owner, cancelled_at) WHERE cancelled_at IS NOT NULL",
    ),
    (
        "ALTER TABLE jobs ADD COLUMN message TEXT",
        "ALTER TABLE jobs ADD COLUMN held_at REAL",
        "ALTER TABLE jobs ADD COLUMN held_for REAL NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN changed_at REAL NOT NULL DEFAULT 0",
        "UPDATE jobs SET changed_at = max(created_at, coalesce(cancelled_at, 0))",
        "DROP INDEX jobs_by_beginning",
        "DROP INDEX jobs_by_end",
        "DROP INDEX jobs_by_cancel",
        "CREATE INDEX jobs_by_change ON jobs (owner, changed_at)",
        "CREATE INDEX jobs_by_end ON jobs (owner, created_at + delay + held_for)",
        "CREATE INDEX jobs_held ON jobs (owner) WHERE held_at IS NOT NULL",
        "ALTER TABLE owners ADD COLUMN world TEXT",
        "ALTER TABLE owners ADD COLUMN requests INTEGER NOT NULL DEFAULT 0",
        """
        CREATE TABLE tallies (
            owner   TEXT NOT NULL,
            subject TEXT NOT NULL,
            count   INTEGER NOT NULL,
            PRIMARY KEY (owner, subject)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE requests (
            owner  TEXT NOT NULL,
            number INTEGER NOT NULL,
            entry  TEXT NOT NULL,
            PRIMARY KEY (owner, number)
        ) STRICT, WITHOUT ROWID
        """,
    ),
    (
        "DROP INDEX jobs_by_end",
        "DROP INDEX jobs_held",
        """
        CREATE INDEX jobs_by_end ON jobs (
            owner,
            coalesce(cancelled_at, CASE WHEN held_at IS NULL THEN created_at + delay + held_for END)
        )
        """,
    ),
    (
        "DROP INDEX jobs_by_end",
        """
        CREATE INDEX jobs_by_end ON jobs (
            owner,
            coalesce(cancelled_at, CASE WHEN held_at IS NULL THEN created_at + delay + held_for ELSE 1e+300 END)
        )
        """,
        "DROP INDEX jobs_by_change",
        "CREATE INDEX jobs_amended ON jobs (owner, changed_at) WHERE changed_at <> created_at",
        "CREATE INDEX jobs_by_outcome ON jobs (owner, outcome, ordinal)",
        "CREATE INDEX jobs_cancelled ON jobs (owner, ordinal) WHERE cancelled_at IS NOT NULL",
    ),
    (
        "ALTER TABLE owners ADD COLUMN generation INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE owners ADD COLUMN kept_under TEXT",
        "ALTER TABLE owners ADD COLUMN counted_under TEXT",
        """
        CREATE TABLE emptied (
            relation TEXT NOT NULL,
            owner    TEXT NOT NULL,
            PRIMARY KEY (relation, owner)
        ) STRICT, WITHOUT ROWID
        """,
    ),
    (
        "ALTER TABLE jobs RENAME COLUMN held_at TO paused_at",
        "ALTER TABLE jobs RENAME COLUMN held_for TO paused_for",
        "DROP INDEX jobs_amended",
        "CREATE INDEX jobs_by_change ON jobs (owner, changed_at) WHERE changed_at <> created_at",
        "ALTER TABLE owners RENAME COLUMN world TO sandbox",
        "ALTER TABLE owners RENAME COLUMN kept_under TO data_key",
        "ALTER TABLE owners RENAME COLUMN counted_under TO count_key",
        "ALTER TABLE tallies RENAME TO fault_counts",
        "UPDATE fault_counts SET subject = 'poll' || substr(subject, 5) WHERE subject LIKE 'look %'",
        "UPDATE fault_counts SET subject = 'batch_poll' || substr(subject, 5) WHERE subject LIKE 'bulk %'",
        "ALTER TABLE emptied RENAME TO purge_queue",
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
            value BLOB NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
    ),
    (
        """
        CREATE TABLE new_jobs (
            owner           TEXT NOT NULL,
            ordinal         INTEGER NOT NULL,
            id              TEXT NOT NULL,
            api             TEXT NOT NULL DEFAULT 'native',
            kind            TEXT NOT NULL DEFAULT 'translation',
            created_at      REAL NOT NULL,
            delay           REAL NOT NULL,
            outcome         TEXT NOT NULL CHECK (outcome IN ('completed', 'error')),
            message         TEXT,
            source_language TEXT,
            target_language TEXT,
            video_length    REAL,
            cancelled_at    REAL,
            paused_at       REAL,
            paused_for      REAL NOT NULL DEFAULT 0,
            changed_at      REAL NOT NULL DEFAULT 0,
            idempotency_key TEXT,
            fingerprint     BLOB,
            PRIMARY KEY (owner, ordinal)
        ) STRICT, WITHOUT ROWID
        """,
        """
        INSERT INTO new_jobs (
            owner, ordinal, id, created_at, delay, outcome, message, source_language, target_language, video_length,
            cancelled_at, paused_at, paused_for, changed_at, idempotency_key, fingerprint
        )
        SELECT
            owner, ordinal, id, created_at, delay, outcome, message, source_language, target_language, video_length,
            cancelled_at, paused_at, paused_for, changed_at, idempotency_key, fingerprint
        FROM jobs
        """,
        "DROP TABLE jobs",
        "ALTER TABLE new_jobs RENAME TO jobs",
        "CREATE UNIQUE INDEX jobs_by_id ON jobs (owner, id, api, kind)",
        "CREATE UNIQUE INDEX jobs_by_key ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL",
        """
        CREATE INDEX jobs_by_end ON jobs (
            owner,
            coalesce(cancelled_at, CASE WHEN paused_at IS NULL THEN created_at + delay + paused_for ELSE 1e+300 END)
        )
        """,
        "CREATE INDEX jobs_by_change ON jobs (owner, changed_at) WHERE changed_at <> created_at",
        "CREATE INDEX jobs_by_outcome ON jobs (owner, outcome, ordinal)",
        "CREATE INDEX jobs_cancelled ON jobs (owner, ordinal) WHERE cancelled_at IS NOT NULL",
    ),
    (
        "ALTER TABLE jobs ADD COLUMN after_polls INTEGER",
        "ALTER TABLE jobs ADD COLUMN polls INTEGER NOT NULL DEFAULT 0",
    ),
    (
        "ALTER TABLE jobs ADD COLUMN code TEXT",
        "ALTER TABLE jobs ADD COLUMN output TEXT",
        "ALTER TABLE jobs ADD COLUMN echo TEXT NOT NULL DEFAULT ''",
        """
        CREATE TABLE inputs (
            owner   TEXT NOT NULL,
            ordinal INTEGER NOT NULL,
            input   TEXT NOT NULL,
            PRIMARY KEY (owner, ordinal)
        ) STRICT
        """,
    ),
    ("ALTER TABLE jobs ADD COLUMN deleted_at REAL",),
    ("ALTER TABLE jobs ADD COLUMN changed_before REAL",),
    (
        "ALTER TABLE jobs ADD COLUMN webhook TEXT",
        "ALTER TABLE jobs ADD COLUMN notified INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN next_event_at REAL",
        "CREATE INDEX owners_by_data_key ON owners (data_key) WHERE data_key IS NOT NULL",
        "CREATE INDEX jobs_by_event ON jobs (owner, next_event_at) WHERE next_event_at IS NOT NULL",
        """
        CREATE TABLE deliveries (
            owner    TEXT NOT NULL,
            ordinal  INTEGER NOT NULL,
            stage    INTEGER NOT NULL,
            id       TEXT NOT NULL,
            next_at  REAL,
            gone_url TEXT,
            document TEXT NOT NULL,
            PRIMARY KEY (owner, ordinal, stage)
        ) STRICT
        """,
        "CREATE INDEX deliveries_by_id ON deliveries (owner, id)",
        "CREATE INDEX deliveries_due ON deliveries (owner, next_at) WHERE next_at IS NOT NULL",
        "CREATE INDEX deliveries_gone ON deliveries (owner, gone_url) WHERE gone_url IS NOT NULL",
        """
        CREATE TABLE leases (
            owner  TEXT PRIMARY KEY,
            holder TEXT NOT NULL,
            until  REAL NOT NULL
        ) STRICT
        """,
    ),
    (
        """
        CREATE TABLE shown_ends (
            owner   TEXT NOT NULL,
            ordinal INTEGER NOT NULL,
            PRIMARY KEY (owner, ordinal)
        ) STRICT, WITHOUT ROWID
        """,
    ),
    ("ALTER TABLE requests RENAME COLUMN record TO records",),  # one a line, see `request_log`
    ("ALTER TABLE jobs ADD COLUMN pauses TEXT NOT NULL DEFAULT ''",),
)
