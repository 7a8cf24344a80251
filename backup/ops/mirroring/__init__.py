"""The parts of `backup.ops.mirror`: what the repository holds of a path, and a look at what would be lost."""
