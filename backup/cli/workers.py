"""The value of `--workers`."""

import argparse

#: With more, the main process cannot keep them busy, and each takes memory.
MAX_WORKERS = 256


def parse_workers(text: str) -> int:
    """For argparse. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) > MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {MAX_WORKERS}")
    return int(text)
