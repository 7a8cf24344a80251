"""Everything at once, at random: what `scripts/soak` runs for as long as it is told to."""
