"""imbfs leases"""

import argparse
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.output import count, printable, show_json, table, tell
from backup.model.errors import NotFound, RepositoryBusy
from backup.model.ids import SHORT_ID

if TYPE_CHECKING:
    from backup.repository import Repository
    from backup.repository.leases import FoundLease


#: As people read them.
_STATES = {
    "running": "running",
    "ended": "ended",
    "recent": "on another machine",
    "expired": "on another machine, expired",
}
#: Of another user's.
_HIDDEN = {"recent": "may not be read", "expired": "may not be read, expired"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--remove", metavar="LEASE", action="append", default=[],
        help="remove one, by its id or the beginning of that: its process has ended for certain (repeatable)",
    )  # fmt: skip


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.repository.leases import found_leases

    with context.open_repository() as repository:
        found = sorted(found_leases(repository.storage, time.time_ns()), key=_since)
        if arguments.remove:
            repository.require_writable()
            found = [_chosen(text, found) for text in dict.fromkeys(arguments.remove)]
            _remove(repository, found)
    if context.json:
        show_json([_record(each) for each in found])
    elif arguments.remove:
        tell(f"removed {count(len(found), 'lease')}")
    elif found:
        table(("ID", "USE", "PROCESS", "HOST", "SINCE", "LAST SIGN", "STATE", "SNAPSHOTS"), map(_row, found))
    elif not context.quiet:
        tell("nobody reads or writes")
    return exits.DONE


def _chosen(text: str, found: "list[FoundLease]") -> "FoundLease":
    fitting = [each for each in found if text and each.id.startswith(text)]
    if len(fitting) != 1:
        raise NotFound(f"{count(len(fitting), 'lease')} begin with {text!r}: `imbfs leases` lists them")
    return fitting[0]


def _remove(repository: "Repository", chosen: "list[FoundLease]") -> None:
    from backup.repository.leases import remove_lease

    for each in chosen:
        if each.state == "running" and each.lease is not None:
            raise RepositoryBusy(f"{each.lease.who()} is running: end it, and its lease goes with it")
    for each in chosen:
        remove_lease(repository.storage, each.id)


def _row(found: "FoundLease") -> tuple[str, ...]:
    from backup.repository.leases import HiddenLease

    lease, sign = found.lease, _time(found.beaten)[:19].replace("T", " ")
    if lease is None:
        return found.id[:SHORT_ID], "?", "?", "?", "?", sign, "damaged, counts for nothing", ""
    if isinstance(lease, HiddenLease):
        return found.id[:SHORT_ID], f"({lease.kind})", "?", "?", "?", sign, _HIDDEN[found.state], ""
    snapshots = " ".join(snapshot[:SHORT_ID] for snapshot in lease.snapshots)
    return (
        found.id[:SHORT_ID],
        _plain(f"{lease.command} ({lease.kind})"),
        str(lease.process.pid),
        _plain(lease.process.host),
        _plain(lease.since[:19].replace("T", " ")),
        sign,
        _STATES[found.state],
        _plain(snapshots),
    )


def _plain(text: str) -> str:
    return printable(text.encode(errors="replace"))


def _since(found: "FoundLease") -> str:
    return found.lease.since if found.lease else ""


def _record(found: "FoundLease") -> dict[str, Any]:
    from backup.repository.leases import HiddenLease

    kind = found.lease and found.lease.kind
    lease = None if isinstance(found.lease, HiddenLease) else found.lease
    return {
        "id": found.id,
        "kind": kind,
        "command": lease and lease.command,
        "host": lease and lease.process.host,
        "process": lease and lease.process.pid,
        "since": lease and lease.since,
        "last_sign": _time(found.beaten),
        "state": found.state,
        "snapshots": list(lease.snapshots) if lease else [],
    }


def _time(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="seconds")
