"""What a job runner can do: each kind of job is one file here and one line in the registry."""
