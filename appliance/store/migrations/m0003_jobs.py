"""Schema 3: jobs, the stored actions that are run later, and the one result each may have."""

VERSION = 3

STATEMENTS: tuple[str, ...] = (
    """
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY NOT NULL,
        kind TEXT NOT NULL,
        state TEXT NOT NULL
            CHECK (state IN ('waiting', 'running', 'done', 'dead', 'cancelled')),
        priority INTEGER NOT NULL,
        model TEXT NOT NULL,
        pins TEXT NOT NULL,
        params TEXT NOT NULL,
        inputs TEXT NOT NULL,
        key_id TEXT NOT NULL,
        key_name TEXT NOT NULL,
        request_id TEXT NOT NULL,
        idempotency_key TEXT,
        digest BLOB NOT NULL,
        created_seconds REAL NOT NULL,
        due_seconds REAL NOT NULL,
        started_seconds REAL,
        ended_seconds REAL,
        attempts INTEGER NOT NULL CHECK (attempts >= 0),
        allowed_attempts INTEGER NOT NULL CHECK (allowed_attempts >= 1),
        instance TEXT NOT NULL,
        progress REAL NOT NULL CHECK (progress BETWEEN 0 AND 1),
        message TEXT NOT NULL,
        is_cancelling INTEGER NOT NULL CHECK (is_cancelling IN (0, 1)),
        problem TEXT,
        CHECK ((state = 'running') = (instance <> '')),
        CHECK ((state IN ('done', 'dead', 'cancelled')) = (ended_seconds IS NOT NULL))
    ) STRICT
    """,
    # The next job is the first of this index, however many wait.
    "CREATE INDEX jobs_waiting ON jobs (priority DESC, id) WHERE state = 'waiting'",
    "CREATE INDEX jobs_running ON jobs (instance) WHERE state = 'running'",
    "CREATE INDEX jobs_ended ON jobs (ended_seconds) WHERE ended_seconds IS NOT NULL",
    "CREATE INDEX jobs_by_state ON jobs (state, id)",
    "CREATE INDEX jobs_by_key ON jobs (key_id, id)",
    "CREATE UNIQUE INDEX jobs_once ON jobs (key_id, idempotency_key)"
    " WHERE idempotency_key IS NOT NULL",
    # The primary key is the promise: one recorded result for each job, whatever ran twice.
    """
    CREATE TABLE job_results (
        job_id TEXT PRIMARY KEY NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        attempt INTEGER NOT NULL CHECK (attempt >= 1),
        recorded_seconds REAL NOT NULL,
        document BLOB NOT NULL,
        files TEXT NOT NULL
    ) STRICT
    """,
)
