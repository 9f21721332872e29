"""Everything that is kept: the database, its backups, the disk under it."""
