"""The parts of `backup.ops.backup`: what is backed up, the walk, a file's content."""
