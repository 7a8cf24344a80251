"""The parts of `backup.ops.export`: an increment as a tree of its own, and tar volumes."""
