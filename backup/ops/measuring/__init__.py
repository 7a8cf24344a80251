"""The parts of `backup.ops.stats`: what reaches each object, and what each object takes."""
