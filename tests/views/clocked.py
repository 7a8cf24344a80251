"""The view of a whole repository, with a clock that a test moves."""

from backup.model.inode import Statistics
from backup.views.inodes import InodeView
from backup.views.repository import NAMES, repository_node
from backup.views.repository import Shown as Snapshots
from backup.views.snapshot import Options
from tests.views.kept import Kept
from tests.views.shown import Shown


class Clocked(Shown):
    """`later` lets the time go by after which new snapshots are seen."""

    def __init__(self, kept: Kept, layout: str = "", options: Options | None = None) -> None:
        self.seconds = 1000.0
        snapshots = Snapshots(kept.repository, options or Options(), clock=lambda: self.seconds)
        super().__init__(InodeView(repository_node(snapshots, layout), Statistics(0, 0)))

    def later(self) -> "Clocked":
        self.seconds += NAMES * 1.01
        return self
