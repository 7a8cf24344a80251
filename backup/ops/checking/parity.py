"""Parity: does each pack have it, where the repository has any, and is it as it was written?"""

from collections.abc import Collection

from backup.model.errors import Damaged
from backup.model.ids import PackId
from backup.objects.parity import Parity
from backup.ops.checking.report import Report
from backup.repository import Repository


def has_parity(repository: Repository, pack: PackId) -> bool:
    """Reads all of it."""
    try:
        return Parity(repository.storage, pack).sound()
    except (Damaged, OSError):
        return False


def check_parity(repository: Repository, read: Collection[PackId], report: Report) -> None:
    """Looks at the parity of the packs that were `read`, and for packs that have none."""
    if not repository.config.parity:
        return
    stored = {pack for pack, _ in repository.inventory.packs()}
    files = {pack for pack, _ in repository.inventory.parity()}
    if lacking := len(stored - files):
        report.notes.append(f"{lacking:,} packs have no parity: `imbfs repair` makes it")
    if alone := len(files - stored):
        report.notes.append(f"{alone:,} files in parity/ belong to no pack")
    for pack in read:
        if pack in files & stored and not has_parity(repository, pack):
            report.found(
                f"parity of pack {pack.hex()[:12]}", "its bytes have changed: `imbfs repair` makes it anew"
            )
