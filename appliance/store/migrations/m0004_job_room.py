"""Schema 4: how much room on the disk each job takes, so that keys and all jobs can be bounded."""

VERSION = 4

STATEMENTS: tuple[str, ...] = (
    "ALTER TABLE jobs ADD COLUMN stored_bytes INTEGER NOT NULL DEFAULT 0"
    " CHECK (stored_bytes >= 0)",
    # Jobs that may be tried again keep what was sent, those that are done what they found.
    """
    UPDATE jobs SET stored_bytes = coalesce(
        (SELECT sum(json_extract(value, '$.bytes')) FROM json_each(jobs.inputs)), 0)
    WHERE state IN ('waiting', 'running', 'dead')
    """,
    """
    UPDATE jobs SET stored_bytes = coalesce(
        (SELECT length(document) + coalesce(
            (SELECT sum(json_extract(value, '$.bytes')) FROM json_each(job_results.files)), 0)
         FROM job_results WHERE job_id = jobs.id), 0)
    WHERE state = 'done'
    """,
    # Both sums are read off these alone, however many jobs there are.
    "CREATE INDEX jobs_stored ON jobs (key_id, stored_bytes)",
    "CREATE INDEX jobs_open ON jobs (key_id) WHERE state IN ('waiting', 'running')",
)
