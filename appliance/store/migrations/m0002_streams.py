"""Schema 2: streams, the sessions that devices feed over time."""

VERSION = 2

STATEMENTS: tuple[str, ...] = (
    """
    CREATE TABLE streams (
        id TEXT PRIMARY KEY NOT NULL,
        model TEXT NOT NULL,
        version INTEGER NOT NULL CHECK (version >= 1),
        task TEXT NOT NULL,
        params TEXT NOT NULL,
        device TEXT NOT NULL,
        key_id TEXT NOT NULL,
        key_name TEXT NOT NULL,
        created_seconds REAL NOT NULL,
        last_seconds REAL NOT NULL,
        ended_seconds REAL,
        end_reason TEXT NOT NULL,
        sequence INTEGER NOT NULL CHECK (sequence >= 0),
        chunk_digest BLOB NOT NULL,
        state BLOB,
        answer BLOB NOT NULL,
        end_answer BLOB NOT NULL,
        chunks INTEGER NOT NULL CHECK (chunks >= 0),
        input_bytes INTEGER NOT NULL CHECK (input_bytes >= 0),
        events INTEGER NOT NULL CHECK (events >= 0),
        restarts INTEGER NOT NULL CHECK (restarts >= 0)
    ) STRICT
    """,
    # Ended streams are kept for a while: without these, counting the open ones would read all.
    "CREATE INDEX streams_open ON streams (last_seconds) WHERE ended_seconds IS NULL",
    "CREATE INDEX streams_ended ON streams (ended_seconds) WHERE ended_seconds IS NOT NULL",
)
