"""Checking: is everything there that the snapshots need, and is it what its name says?"""

from backup.ops.checking.packs import check_packs
from backup.ops.checking.report import Damage, Monitor, Report
from backup.ops.checking.snapshots import check_snapshots
from backup.repository import Repository

__all__ = ["Damage", "Monitor", "Report", "check"]


def check(repository: Repository, read_data: bool, monitor: Monitor) -> Report:
    """Looks at the structure of everything, and with `read_data` at every byte.

    Goes on after every piece of damage: the report holds it all.
    """
    report = Report()
    check_packs(repository, read_data, report, monitor)
    check_snapshots(repository, report, monitor)
    return report
