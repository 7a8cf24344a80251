"""Deleting condemned packs, once nobody can rely on them. `docs/design.md`, "Neighbours"."""

from contextlib import suppress

from backup.model.errors import CannotStore, ImbfsError, is_full
from backup.model.ids import PackId
from backup.objects.pack import pack_key
from backup.objects.parity import parity_key
from backup.ops.pruning.need import Holders, Need
from backup.ops.pruning.survey import Survey
from backup.repository import Repository
from backup.repository.condemned import condemn, condemned_notes, remove_note
from backup.repository.leases import HeldLease, Lease, living_leases, remove_dead_leases
from backup.repository.segments import replace_segments


class Sweep:
    """One run's. `waiting` are the processes for which something was left."""

    def __init__(self, repository: Repository, survey: Survey, need: Need, lease: HeldLease) -> None:
        self._repository = repository
        self._survey = survey
        self._need = need
        self._lease = lease
        self.deleted: set[PackId] = set()
        self.left: set[PackId] = set()
        self.waiting: dict[str, Lease] = {}

    def run(self) -> None:
        """Deletes what the notes condemn, but for what a running process may still use, or a snapshot needs.

        Raises OSError, `Damaged`; `ImbfsError` where another prune took this one for dead.
        """
        storage = self._repository.storage
        notes = condemned_notes(storage)
        if not notes:
            return
        # In this order: a writer gives its lease back after its manifest stands, a reader has its lease
        # before it makes sure that its manifest stands, and one who relabels a manifest does both.
        living = remove_dead_leases(storage, self._lease.time())
        self._need.add_snapshots()
        self._need.add_leases(living_leases(storage, self._lease.time()).values())
        self._need.add_snapshots()
        rescued = Holders(self._survey, frozenset().union(*notes.values())).rescued()
        for note, packs in notes.items():
            if not packs.isdisjoint(rescued):
                condemn(storage, packs - rescued, note)
            unseen = {name: lease for name, lease in living.items() if lease.relies_on(note)}
            if unseen:
                self.waiting.update(unseen)
                self.left |= packs - rescued
            else:
                self._delete(note, packs - rescued)

    def _delete(self, note: str, packs: frozenset[PackId]) -> None:
        storage = self._repository.storage
        self._require_lease()
        done = self._leave_out_of_segments(packs)
        for pack in sorted(packs):
            self._require_lease()
            try:
                # First, so that none is left alone.
                with suppress(FileNotFoundError):
                    storage.delete(parity_key(pack))
                storage.delete(pack_key(pack))
            except FileNotFoundError:
                continue
            self.deleted.add(pack)
        self.left -= packs
        if not done:
            # While the note stands, nobody misses a pack that a segment lists.
            replace_segments(self._repository, packs)
        remove_note(storage, note)

    def _leave_out_of_segments(self, packs: frozenset[PackId]) -> bool:
        """False where there is no space for segments without them."""
        try:
            replace_segments(self._repository, packs)
        except (OSError, CannotStore) as error:
            if not is_full(error):
                raise
            return False
        return True

    def _require_lease(self) -> None:
        if not self._lease.stands():
            raise ImbfsError("prune was suspended for hours, and another one may have begun: run it again")
