"""The parts of `backup.ops.diff`: gathering what differs, renames of files, renames of directories."""
