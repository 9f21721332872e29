"""Schema 1: keys, predictions, audit, model versions and switches, settings."""

VERSION = 1

STATEMENTS: tuple[str, ...] = (
    """
    CREATE TABLE keys (
        id TEXT PRIMARY KEY NOT NULL,
        name TEXT NOT NULL,
        role TEXT NOT NULL CHECK (role IN ('device', 'operator', 'admin')),
        secret_sha256 BLOB NOT NULL CHECK (length(secret_sha256) = 32),
        models TEXT NOT NULL,
        source_networks TEXT NOT NULL,
        created_seconds REAL NOT NULL,
        expires_seconds REAL,
        revoked_seconds REAL,
        last_used_seconds REAL,
        last_used_address TEXT NOT NULL DEFAULT ''
    ) STRICT
    """,
    # No foreign key to keys: history outlives a deleted key, and 'recorded' must not wait for a
    # lookup.
    """
    CREATE TABLE predictions (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        received_seconds REAL NOT NULL,
        device_seconds REAL,
        model TEXT NOT NULL,
        version INTEGER NOT NULL CHECK (version >= 0),
        task TEXT NOT NULL,
        key_id TEXT NOT NULL,
        key_name TEXT NOT NULL,
        label TEXT,
        confidence REAL,
        content_type TEXT NOT NULL,
        input_bytes INTEGER NOT NULL CHECK (input_bytes >= 0),
        input_sha256 TEXT NOT NULL,
        result BLOB NOT NULL,
        duration_ms REAL NOT NULL,
        request_id TEXT NOT NULL,
        session_id TEXT,
        review TEXT
    ) STRICT
    """,
    # Each ends with the order in which history is read, so that a page never needs a sort.
    "CREATE INDEX predictions_by_time ON predictions (received_seconds)",
    "CREATE INDEX predictions_by_key ON predictions (key_id, received_seconds)",
    "CREATE INDEX predictions_by_model"
    " ON predictions (model, received_seconds, sequence, version, label)",
    "CREATE INDEX predictions_by_label ON predictions (label, received_seconds)"
    " WHERE label IS NOT NULL",
    """
    CREATE TABLE audit (
        sequence INTEGER PRIMARY KEY NOT NULL CHECK (sequence >= 1),
        at_seconds REAL NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        subject TEXT NOT NULL,
        detail TEXT NOT NULL,
        address TEXT NOT NULL,
        previous_hash BLOB NOT NULL CHECK (length(previous_hash) = 32),
        hash BLOB NOT NULL CHECK (length(hash) = 32)
    ) STRICT
    """,
    """
    CREATE TABLE model_versions (
        name TEXT NOT NULL,
        version INTEGER NOT NULL CHECK (version >= 1),
        state TEXT NOT NULL,
        reason TEXT NOT NULL DEFAULT '',
        sha256 TEXT NOT NULL,
        size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
        created_seconds REAL NOT NULL,
        PRIMARY KEY (name, version)
    ) STRICT
    """,
    """
    CREATE TABLE model_switches (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        model TEXT NOT NULL,
        version INTEGER CHECK (version >= 1),
        previous INTEGER CHECK (previous >= 1),
        at_seconds REAL NOT NULL,
        actor TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX model_switches_by_model ON model_switches (model, sequence)",
    "CREATE TABLE settings (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) STRICT",
)
