"""Settings of what lies on the disk: the state, the history, jobs and backups."""

from typing import Annotated

from msgspec import Meta

from appliance.config_values import MEBIBYTE, Bytes, Count, Seconds, Section, Share


class State(Section, frozen=True):
    """Where the appliance keeps what it knows."""

    dir: Annotated[
        str, Meta(description="State directory: database, admin key, models, files, spool.")
    ] = "state"
    cache_dir: Annotated[
        str, Meta(description="Compiled models; may be deleted at any time. Empty: <state>/cache.")
    ] = ""
    runtime_dir: Annotated[
        str, Meta(description="Unix sockets. Empty: <state>/run, or a temporary directory.")
    ] = ""
    reserve_bytes: Annotated[
        Bytes, Meta(description="Size of the reserve file that is given up when the disk is full.")
    ] = 64 * MEBIBYTE
    database_bytes: Annotated[
        Bytes, Meta(description="Largest size of the database; old history goes first.")
    ] = 10 * 1024 * MEBIBYTE


class History(Section, frozen=True):
    """Recorded predictions."""

    enabled: Annotated[bool, Meta(description="Record every prediction.")] = True
    required: Annotated[
        bool, Meta(description="Answer 507 instead of predicting when nothing can be recorded.")
    ] = False
    keep_days: Annotated[Seconds, Meta(description="Days a prediction is kept.")] = 365.0
    keep_rows: Annotated[
        int, Meta(ge=1, le=1_000_000_000, description="Most predictions kept.")
    ] = 20_000_000
    queue_rows: Annotated[
        Count, Meta(description="Rows that may wait for the writer; beyond, 'recorded' is false.")
    ] = 10_000
    queue_bytes: Annotated[
        Bytes, Meta(description="Bytes that these rows may have; beyond, 'recorded' is false.")
    ] = 64 * MEBIBYTE
    query_seconds: Annotated[
        Seconds, Meta(description="Longest a search of the history may read before 503.")
    ] = 2.0
    full_disk_keep_days: Annotated[
        Seconds,
        Meta(description="Days a prediction is kept while the disk is full, if fewer."),
    ] = 90.0
    keep_inputs: Annotated[
        tuple[str, ...],
        Meta(
            description="Models whose inputs are kept as they came, to calibrate from and to look"
            " at; ['*'] is all. A model that is not named keeps none: those kept before go."
        ),
    ] = ()
    keep_inputs_share: Annotated[
        Share, Meta(description="Share of these models' predictions whose input is kept.")
    ] = 1.0
    keep_inputs_bytes: Annotated[
        Bytes, Meta(description="Room on the disk for kept inputs; the oldest go first.")
    ] = 1024 * MEBIBYTE
    keep_inputs_days: Annotated[
        Seconds, Meta(description="Days an input is kept, at most as long as its prediction.")
    ] = 30.0


class Jobs(Section, frozen=True):
    """Work that is stored first and done later."""

    keep_days: Annotated[Seconds, Meta(description="Days a finished job is kept.")] = 30.0
    runners: Annotated[
        int, Meta(ge=1, le=64, description="Jobs that run at once, at low priority.")
    ] = 2
    most_waiting: Annotated[Count, Meta(description="Jobs that may wait to be run.")] = 10_000
    attempts: Annotated[
        int, Meta(ge=1, le=100, description="Attempts at a job before it is dead.")
    ] = 3
    backoff_seconds: Annotated[
        Seconds,
        Meta(description="Pause before a failed job is tried again; it doubles each time."),
    ] = 5.0
    longest_backoff_seconds: Annotated[
        Seconds, Meta(description="Longest pause before a failed job is tried again.")
    ] = 300.0
    deadline_seconds: Annotated[
        Seconds, Meta(description="Longest one attempt at a job may take.")
    ] = 4 * 3600.0
    memory_bytes: Annotated[
        Bytes, Meta(description="Address space of one job's process; more ends it.")
    ] = 8 * 1024 * MEBIBYTE
    result_bytes: Annotated[
        Bytes, Meta(description="Largest result of one job, without the files it keeps.")
    ] = 16 * MEBIBYTE
    kept_bytes: Annotated[
        Bytes, Meta(description="Largest files of one job's result, all together.")
    ] = 4096 * MEBIBYTE
    wait_seconds: Annotated[
        Seconds, Meta(description="Longest an answer is held with ?wait= until a job has ended.")
    ] = 60.0
    files: Annotated[Count, Meta(description="Most files of one job's request.")] = 100
    file_bytes: Annotated[Bytes, Meta(description="Largest file of a job's request.")] = 50_000_000
    members: Annotated[Count, Meta(description="Most files inside a zip that a job reads.")] = (
        10_000
    )
    most_per_key: Annotated[
        Count, Meta(description="Jobs of one key that may wait or run (not for admins).")
    ] = 1_000
    bytes_per_key: Annotated[
        Bytes,
        Meta(
            description="Room on the disk for the files and results of one key's jobs (not for"
            " admins)."
        ),
    ] = 8 * 1024 * MEBIBYTE
    most_bytes: Annotated[
        Bytes, Meta(description="Room on the disk for the files and results of all jobs.")
    ] = 32 * 1024 * MEBIBYTE


class Backup(Section, frozen=True):
    """Copies of the state."""

    dir: Annotated[str, Meta(description="Where backups go. Empty: <state>/backups.")] = ""
    daily: Annotated[Count, Meta(description="Daily backups kept.")] = 7
    weekly: Annotated[Count, Meta(description="Weekly backups kept.")] = 4
    monthly: Annotated[Count, Meta(description="Monthly backups kept.")] = 6
    max_age_seconds: Annotated[
        Seconds, Meta(description="Age of the newest backup after which health warns.")
    ] = 26 * 3600.0
