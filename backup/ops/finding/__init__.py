"""The parts of `backup.ops.find` and `backup.ops.versions`: the walk through many snapshots, and filters."""
