"""The parts of `backup.ops.repair`: finding what is wrong, planning what to do about it, and doing it."""
