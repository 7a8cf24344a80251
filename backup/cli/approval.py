"""Asking whether what changed is to be backed up."""

import sys
from typing import TYPE_CHECKING

from backup.cli.changes import described
from backup.cli.output import paints, tell
from backup.cli.progress import Meter
from backup.model.errors import UsageError

if TYPE_CHECKING:
    from backup.ops.approve import Expected, Judge
    from backup.ops.diff import Line


def judge_of(approve: bool, expected: "Expected | None", meter: Meter) -> "Judge | None":
    """Who decides on changes; None where all are welcome."""
    if not approve and expected is None:
        return None
    from backup.ops.approve import expect

    def judge(lines: "list[Line]") -> None:
        if expected is not None:
            expect(expected, lines)
        if approve and lines:
            _ask(lines, meter)

    return judge


def _ask(lines: "list[Line]", meter: Meter) -> None:
    """Raises `NotApproved` for any other answer than yes, and `UsageError` where nobody can be asked."""
    from backup.ops.approve import refuse

    with meter.question():
        for text in described(lines, apart=meter.context.verbose > 0, paint=paints(sys.stderr)):
            tell(text)
        if sys.stdin is None or not sys.stdin.isatty():
            raise UsageError(
                "--approve asks at a terminal, and here is none: nothing was stored. Scripts take --expect"
                " only-additions, only-renames or none"
            )
        tell("Back up these changes? Type `yes`, or anything else to store nothing:")
        answer = sys.stdin.readline()
    if answer.strip().lower() != "yes":
        refuse(lines, "not approved")
