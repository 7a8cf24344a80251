"""What a prune tells of its progress."""

from typing import Protocol

from backup.ops.pruning.plan import Plan


class Monitor(Protocol):
    """Is told how a prune goes on, and what it is going to do."""

    def step(self, text: str, total: int) -> None:
        """A part of the work begins; `total` is how much there is to do in it."""

    def advance(self, amount: int) -> None: ...

    def notice(self, text: str) -> None: ...

    def plan(self, plan: Plan) -> None:
        """What is going to be done, or would be."""
