"""The parts of a scrub."""
