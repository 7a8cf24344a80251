"""What restore, mirror and export have in common."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from backup.cli.context import Context
from backup.cli.priority import spare_collections

if TYPE_CHECKING:
    from backup.ops.restoring.crew import Crew
    from backup.repository import Repository
    from backup.repository.reading import Reading


class Opened(NamedTuple):
    """The repository, who writes files, and what keeps prune away from the snapshots it is shown."""

    repository: "Repository"
    crew: "Crew"
    reading: "Reading"


@contextmanager
def open_to_restore(context: Context, command: str, workers: int | None = None) -> Iterator[Opened]:
    """`workers`: how many write files; None for as many as suit the machine."""
    from backup.ops.restoring.crew import Crew, default_workers
    from backup.repository.reading import Reading

    spare_collections()
    number = default_workers() if workers is None else workers
    with (
        context.open_repository() as repository,
        # Before the lease, which has a thread: this forks.
        Crew(repository, number) as crew,
        Reading(repository, command) as reading,
    ):
        yield Opened(repository, crew, reading)
