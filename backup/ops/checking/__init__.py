"""The parts of `backup.ops.check`: packs and segments, the index, and what damage reaches."""
