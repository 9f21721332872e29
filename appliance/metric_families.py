"""Every metric by its name: what it counts, in which unit, and by which labels."""

from typing import NamedTuple

from appliance.machine import Labels


class Family(NamedTuple):
    """One metric as it is documented."""

    kind: str  # counter, gauge or histogram
    help: str
    labels: Labels = ()


#: Counted as it happens.
COUNTED: dict[str, Family] = {
    "requests_total": Family(
        "counter", "HTTP requests answered, by route template.", ("route", "method", "status")
    ),
    "request_duration_seconds": Family(
        "histogram", "Time from receiving a request to its answer.", ("route",)
    ),
    "inference_requests_total": Family(
        "counter",
        "Calls of models; outcome is ok or the problem's name.",
        ("model", "version", "outcome"),
    ),
    "queue_duration_seconds": Family("histogram", "Time a call waited for its model.", ("model",)),
    "decode_duration_seconds": Family(
        "histogram", "Time to turn an input into tensors.", ("model",)
    ),
    "inference_duration_seconds": Family("histogram", "Time inside OpenVINO.", ("model",)),
    "encode_duration_seconds": Family(
        "histogram", "Time to turn tensors into a result.", ("model",)
    ),
    "host_restarts_total": Family(
        "counter", "Model processes started again, and why.", ("model", "reason")
    ),
    "model_load_failures_total": Family(
        "counter", "Model versions that did not become ready.", ("model",)
    ),
    "auto_rollbacks_total": Family(
        "counter", "Versions that did worse once active and gave way.", ("model",)
    ),
    "predictions_recorded_total": Family("counter", "Predictions accepted for writing."),
    "predictions_unrecorded_total": Family(
        "counter", "Predictions answered without being recorded."
    ),
    "database_commit_duration_seconds": Family(
        "histogram", "Time one group commit of the database took."
    ),
    "http_connections_rejected_total": Family(
        "counter", "Connections turned away at once, and why.", ("reason",)
    ),
    "http_connections_cut_total": Family(
        "counter", "Connections ended by the server, and why.", ("reason",)
    ),
    "http_requests_rejected_total": Family(
        "counter", "Requests refused before they were routed, and why.", ("reason",)
    ),
    "rate_limited_total": Family(
        "counter", "Requests refused by a rate limit of a key or an address.", ("kind",)
    ),
    "jobs_processed_total": Family(
        "counter",
        "Attempts at jobs that ended; outcome is done, retried, dead or cancelled.",
        ("kind", "outcome"),
    ),
    "job_duration_seconds": Family("histogram", "Time one attempt at a job took.", ("kind",)),
    "scrape_errors_total": Family(
        "counter", "Parts that failed to tell their values at a scrape."
    ),
}

#: Asked at each scrape, by what `Metrics.watch` was given.
WATCHED: dict[str, Family] = {
    "ready": Family("gauge", "1 while requests should be sent here."),
    "in_flight": Family("gauge", "Calls inside a model right now.", ("model", "version")),
    "waiting": Family("gauge", "Requests that wait for a thread, by lane.", ("lane",)),
    "model_loaded": Family("gauge", "1 while this version answers.", ("model", "version")),
    "model_load_duration_seconds": Family(
        "gauge", "Time the last start of this version took.", ("model", "version")
    ),
    "model_memory_bytes": Family(
        "gauge", "Resident memory of a model's process.", ("model", "version")
    ),
    "canary_success": Family(
        "gauge", "1 if the last canary inference was answered well.", ("model",)
    ),
    "canary_duration_seconds": Family("gauge", "Time the last canary took.", ("model",)),
    "predictions_lost_total": Family(
        "counter", "Predictions accepted for writing that could not be written."
    ),
    "inputs_kept": Family("gauge", "Inputs of predictions that are kept as they came."),
    "inputs_kept_bytes": Family("gauge", "Room on the disk that kept inputs take."),
    "inputs_dropped_total": Family(
        "counter", "Inputs to be kept that were not: too many at once, or the disk short of room."
    ),
    "database_size_bytes": Family("gauge", "Size of the database file."),
    "database_wal_bytes": Family("gauge", "Size of the database's write-ahead log."),
    "database_quota_bytes": Family("gauge", "Size the database may grow to."),
    "database_queue_rows": Family("gauge", "Rows that wait for the database's writer."),
    "database_last_commit_age_seconds": Family("gauge", "Time since the last commit."),
    "database_writable": Family("gauge", "1 while the database takes writes."),
    "disk_free_bytes": Family("gauge", "Free space, by directory.", ("directory",)),
    "disk_size_bytes": Family("gauge", "Size of the file system, by directory.", ("directory",)),
    "disk_level": Family("gauge", "0 ok, 1 warn, 2 tight, 3 critical."),
    "jobs_waiting": Family("gauge", "Jobs that wait to be run: the depth of the queue."),
    "jobs_running": Family("gauge", "Jobs that run now."),
    "jobs_dead": Family("gauge", "Jobs that failed for good: the dead-letter queue."),
    "jobs_stored_bytes": Family("gauge", "Room on the disk that files of jobs take."),
    "backup_last_success_timestamp_seconds": Family("gauge", "When the newest backup was made."),
    "backup_last_size_bytes": Family("gauge", "Size of the newest backup."),
    "backup_verify_ok": Family("gauge", "1 if the newest backup passed its checks."),
    "http_connections": Family("gauge", "Open connections."),
    "spool_bytes": Family("gauge", "Bytes of request bodies held on disk."),
    "log_lines_suppressed_total": Family("counter", "Log lines held back by the limit."),
    "log_lines_unwritten_total": Family("counter", "Log lines that could not be written."),
}

#: Asked of the operating system at each scrape.
MACHINE: dict[str, Family] = {
    "up": Family("gauge", "1: the process answers."),
    "build_info": Family("gauge", "What runs here; always 1.", ("version", "python")),
    "machine_cpu_seconds_total": Family("counter", "CPU time of the machine.", ("mode",)),
    "machine_cores": Family("gauge", "Cores of the machine."),
    "machine_load_average": Family("gauge", "Load average over so many minutes.", ("minutes",)),
    "machine_memory_bytes": Family("gauge", "Memory of the machine."),
    "machine_memory_available_bytes": Family("gauge", "Memory that can still be taken."),
    "machine_temperature_celsius": Family("gauge", "Temperatures the machine tells.", ("sensor",)),
    "process_threads": Family("gauge", "Threads of the front process."),
}
