"""The parts of `backup.ops.prune`: what packs hold, what is needed, what to do, and doing it."""
