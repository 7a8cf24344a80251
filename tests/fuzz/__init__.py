"""Every decoder, given bytes that mean harm: hypothesis, a corpus, and `scripts/fuzz`."""
