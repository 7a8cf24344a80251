"""What a restore is about to change in a directory that has something in it: found before it begins."""

from dataclasses import dataclass, field, replace

from backup.model.entry import Entry
from backup.ops.restore import Reader, RestoreOptions, restore

#: Of what is found, so much is kept to be shown.
MOST_SHOWN = 20


@dataclass(slots=True)
class Foresight:
    """A dry run's monitor: it counts, and keeps the first few. What fails will be told when it does."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def progress(self, files: int, size: int, path: bytes) -> None:
        pass

    def notice(self, text: str) -> None:
        self.count += 1
        if len(self.first) < MOST_SHOWN:
            self.first.append(text)

    def problem(self, path: bytes, text: str) -> None:
        pass


def foresee(reader: Reader, root: Entry, target: bytes, options: RestoreOptions) -> Foresight:
    """All that `restore` with these options would replace, remove or move aside. Raises as it does."""
    foresight = Foresight()
    restore(reader, root, target, replace(options, dry_run=True), foresight)
    return foresight
