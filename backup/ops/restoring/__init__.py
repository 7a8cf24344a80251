"""The parts of `backup.ops.restore`: what it is told, the walk, and how one name is put back."""
