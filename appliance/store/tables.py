"""The tables as Peewee models, private to the store; the truth about columns is in migrations/.

The models are bound to no database: a query is run on a `Connection`, which knows the thread.
"""

from peewee import (
    BlobField,
    FloatField,
    IntegerField,
    Model,
    TextField,
)


class _Table(Model):
    class Meta:
        database = None
        legacy_table_names = False


class Key(_Table):
    id = TextField(primary_key=True)
    name = TextField()
    role = TextField()
    secret_sha256 = BlobField()
    models = TextField()  # JSON array
    source_networks = TextField()  # JSON array
    created_seconds = FloatField()
    expires_seconds = FloatField(null=True)
    revoked_seconds = FloatField(null=True)
    last_used_seconds = FloatField(null=True)
    last_used_address = TextField()

    class Meta:
        table_name = "keys"


class PredictionRow(_Table):
    sequence = IntegerField(primary_key=True)
    id = TextField()
    received_seconds = FloatField()
    device_seconds = FloatField(null=True)
    model = TextField()
    version = IntegerField()
    task = TextField()
    key_id = TextField()
    key_name = TextField()
    label = TextField(null=True)
    confidence = FloatField(null=True)
    content_type = TextField()
    input_bytes = IntegerField()
    input_sha256 = TextField()
    result = BlobField()  # JSON
    duration_ms = FloatField()
    request_id = TextField()
    session_id = TextField(null=True)
    review = TextField(null=True)  # JSON, later

    class Meta:
        table_name = "predictions"


class Audit(_Table):
    sequence = IntegerField(primary_key=True)
    at_seconds = FloatField()
    actor = TextField()
    action = TextField()
    subject = TextField()
    detail = TextField()  # JSON
    address = TextField()
    previous_hash = BlobField()
    hash = BlobField()

    class Meta:
        table_name = "audit"


class ModelVersion(_Table):
    name = TextField()
    version = IntegerField()
    state = TextField()
    reason = TextField()
    sha256 = TextField()
    size_bytes = IntegerField()
    created_seconds = FloatField()

    class Meta:
        table_name = "model_versions"
        primary_key = False


class ModelSwitch(_Table):
    sequence = IntegerField(primary_key=True)
    model = TextField()
    version = IntegerField(null=True)
    previous = IntegerField(null=True)
    at_seconds = FloatField()
    actor = TextField()

    class Meta:
        table_name = "model_switches"


class Setting(_Table):
    name = TextField(primary_key=True)
    value = TextField()

    class Meta:
        table_name = "settings"


class StreamRow(_Table):
    id = TextField(primary_key=True)
    model = TextField()
    version = IntegerField()
    task = TextField()
    params = TextField()  # JSON object
    device = TextField()
    key_id = TextField()
    key_name = TextField()
    created_seconds = FloatField()
    last_seconds = FloatField()
    ended_seconds = FloatField(null=True)
    end_reason = TextField()
    sequence = IntegerField()
    chunk_digest = BlobField()
    state = BlobField(null=True)  # the task's own, msgpack
    answer = BlobField()  # JSON as sent
    end_answer = BlobField()
    chunks = IntegerField()
    input_bytes = IntegerField()
    events = IntegerField()
    restarts = IntegerField()

    class Meta:
        table_name = "streams"


class JobRow(_Table):
    id = TextField(primary_key=True)
    kind = TextField()
    state = TextField()
    priority = IntegerField()
    model = TextField()
    pins = TextField()  # JSON array of "model@version"
    params = TextField()  # JSON object
    inputs = TextField()  # JSON array
    key_id = TextField()
    key_name = TextField()
    request_id = TextField()
    idempotency_key = TextField(null=True)
    digest = BlobField()
    created_seconds = FloatField()
    due_seconds = FloatField()
    started_seconds = FloatField(null=True)
    ended_seconds = FloatField(null=True)
    attempts = IntegerField()
    allowed_attempts = IntegerField()
    instance = TextField()
    progress = FloatField()
    message = TextField()
    is_cancelling = IntegerField()
    problem = TextField(null=True)  # JSON object
    stored_bytes = IntegerField()

    class Meta:
        table_name = "jobs"


class JobResultRow(_Table):
    job_id = TextField(primary_key=True)
    attempt = IntegerField()
    recorded_seconds = FloatField()
    document = BlobField()  # JSON
    files = TextField()  # JSON array

    class Meta:
        table_name = "job_results"


#: Every table with its ever-growing number, whose largest value a backup notes; empty where rows
#: have none (VACUUM renumbers the hidden one).
COUNTED: tuple[tuple[str, str], ...] = (
    ("keys", ""),
    ("predictions", "sequence"),
    ("audit", "sequence"),
    ("model_versions", ""),
    ("model_switches", "sequence"),
    ("settings", ""),
    ("streams", ""),
    ("jobs", ""),
    ("job_results", ""),
)
