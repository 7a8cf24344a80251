"""A model of `docs/design.md`, "Neighbours": every order in which the steps of all processes can happen.

There is one object that matters. At first it lies in pack `p`, together with what nothing needs, and one
snapshot, `m`, needs it. A step is what happens at once; between two of them anything else may happen.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

NONE: frozenset[Any] = frozenset()


class Rules(NamedTuple):
    """What makes it safe. Each can be left out, to see that the model finds the loss."""

    lease_before_look: bool = True
    condemned_is_not_stored: bool = True
    taken_over_is_secured: bool = True
    lease_until_manifest: bool = True
    lease_looked_at_again: bool = True
    names_differ: bool = True
    reader_leases_first: bool = True
    reader_looks_again: bool = True
    tag_leases_its_snapshot: bool = True
    sweep_waits_for_writers: bool = True
    sweep_lists_leases_before_manifests: bool = True
    sweep_lists_leases_after_manifests: bool = True
    sweep_lists_manifests_again: bool = True
    sweep_rescues: bool = True
    note_before_sweep: bool = True


class Lease(NamedTuple):
    """`needs`: whether a reader's snapshot needs the object. `dead`: another may remove it."""

    owner: str
    seen: frozenset[str] | None
    needs: bool = False
    dead: bool = False


class Manifest(NamedTuple):
    """`sure`: its writer has made sure that its lease still stood."""

    name: str
    needs: bool
    sure: bool = True


class State(NamedTuple):
    """`packs` are those that hold the object; each actor has its place in its program, and what it knows."""

    packs: frozenset[str] = frozenset({"p"})
    manifests: frozenset[Manifest] = frozenset({Manifest("m", True)})
    notes: frozenset[tuple[str, frozenset[str]]] = NONE
    leases: frozenset[Lease] = NONE
    actors: tuple[Any, ...] = ()

    @property
    def condemned(self) -> frozenset[str]:
        return NONE.union(*(packs for _, packs in self.notes))

    @property
    def note_names(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.notes)

    @property
    def needed(self) -> bool:
        return any(manifest.needs for manifest in self.manifests)

    def stands(self, name: str) -> bool:
        return any(manifest.name == name for manifest in self.manifests)

    def without_lease(self, owner: str) -> "State":
        return self._replace(leases=frozenset(lease for lease in self.leases if lease.owner != owner))

    def with_lease(self, lease: Lease) -> "State":
        return self.without_lease(lease.owner)._replace(
            leases=frozenset({lease, *self.without_lease(lease.owner).leases})
        )

    def has_lease(self, owner: str) -> bool:
        return any(lease.owner == owner for lease in self.leases)

    def without_manifest(self, name: str) -> "State":
        return self._replace(manifests=frozenset(each for each in self.manifests if each.name != name))


class Actor:
    """`at` is where it is in its program; "end" when it is done or was killed."""

    start: Any

    def __init__(self, number: int, rules: Rules) -> None:
        self.number = number
        self.name = f"{type(self).__name__} {number}"
        self.rules = rules

    def steps(self, state: State) -> Iterator[State]:
        raise NotImplementedError

    def go(self, state: State, local: Any) -> State:
        actors = list(state.actors)
        actors[self.number] = local
        return state._replace(actors=tuple(actors))

    def died(self, state: State) -> State:
        """Killed: its lease is a dead one's."""
        leases = frozenset(
            lease._replace(dead=True) if lease.owner == self.name else lease for lease in state.leases
        )
        return self.go(state._replace(leases=leases), ("end",))


class Backup(Actor):
    """Stores the object if it is not stored; with `takes_over`, names it because its parent does."""

    def __init__(self, number: int, rules: Rules, takes_over: bool = False) -> None:
        super().__init__(number, rules)
        self._takes_over = takes_over
        #: Where it is, notes seen, condemned packs, packs that count, needs the object, lease was lost.
        self.start = ("look", NONE, NONE, NONE, False, False)

    def steps(self, state: State) -> Iterator[State]:
        at = state.actors[self.number][0]
        if at == "end":
            return
        yield from getattr(self, "_" + at)(state, *state.actors[self.number][1:])
        # Suspended for hours and then killed between manifest and look: the limit that is documented.
        if at != "again" or self._lives(state):
            yield self.died(state)

    def expired(self, state: State) -> Iterator[State]:
        """Suspended for hours: others take it for dead, and it goes on later."""
        for lease in state.leases:
            if lease.owner == self.name and not lease.dead:
                yield state._replace(leases=(state.leases - {lease}) | {lease._replace(dead=True)})

    def _lives(self, state: State) -> bool:
        return any(lease.owner == self.name and not lease.dead for lease in state.leases)

    def _look(self, state: State, *known: Any) -> Iterator[State]:
        lost = known[4]
        first = "lease" if self.rules.lease_before_look else "notes"
        yield self.go(state, (first, state.note_names, NONE, NONE, known[3], lost))

    def _lease(self, state: State, seen: Any, *known: Any) -> Iterator[State]:
        then = "notes" if self.rules.lease_before_look else "parent"
        yield self.go(state.with_lease(Lease(self.name, seen)), (then, seen, *known))

    def _notes(self, state: State, seen: Any, _: Any, *known: Any) -> Iterator[State]:
        yield self.go(state, ("packs", seen, state.condemned, *known))

    def _packs(self, state: State, seen: Any, condemned: Any, _: Any, *known: Any) -> Iterator[State]:
        counted = state.packs - condemned if self.rules.condemned_is_not_stored else state.packs
        then = "parent" if self.rules.lease_before_look else "lease"
        yield self.go(state, (then, seen, condemned, counted, *known))

    def _parent(self, state: State, seen: Any, condemned: Any, counted: Any, needs: Any, lost: Any) -> Any:
        if lost:
            yield self.go(state, ("secure", seen, condemned, counted, needs, lost))
        elif self._takes_over:
            # The source cannot be read: what the parent names is named again, without a look.
            for parent in state.manifests:
                if parent.sure:
                    yield self.go(state, ("secure", seen, condemned, counted, parent.needs, lost))
        else:
            yield self._store(state, seen, condemned, counted, lost, "secure")

    def _store(self, state: State, seen: Any, condemned: Any, counted: Any, lost: Any, then: str) -> State:
        if not counted:
            # The same bytes make the same pack.
            name = f"of {self.name}" if self.rules.names_differ and "s" in condemned else "s"
            state, counted = state._replace(packs=state.packs | {name}), frozenset({name})
        return self.go(state, (then, seen, condemned, counted, True, lost))

    def _secure(self, state: State, seen: Any, condemned: Any, counted: Any, needs: Any, lost: Any) -> Any:
        doubtful = (condemned and self.rules.taken_over_is_secured) or lost
        then = "again" if lost == "after" else "check"
        if not needs or not doubtful or counted & state.packs:
            yield self.go(state, (then, seen, condemned, counted, needs, False))
        elif state.packs:
            yield self._store(state, seen, condemned, NONE, False, then)
        else:
            # It has gone: there is no snapshot.
            yield self.go(state.without_manifest(self.name).without_lease(self.name), ("end",))

    def _check(self, state: State, *known: Any) -> Iterator[State]:
        if state.has_lease(self.name):
            then = "manifest" if self.rules.lease_until_manifest else "early"
            yield self.go(state, (then, *known))
        else:
            yield self.go(state, ("look", *known[:4], "before"))

    def _early(self, state: State, *known: Any) -> Iterator[State]:
        yield self.go(state.without_lease(self.name), ("manifest", *known))

    def _manifest(self, state: State, seen: Any, condemned: Any, counted: Any, needs: Any, lost: Any) -> Any:
        sure = not self.rules.lease_looked_at_again or not self.rules.lease_until_manifest
        manifests = state.manifests | {Manifest(self.name, needs, sure)}
        then = "done" if sure else "again"
        yield self.go(state._replace(manifests=manifests), (then, seen, condemned, counted, needs, lost))

    def _again(self, state: State, *known: Any) -> Iterator[State]:
        if not state.has_lease(self.name):
            yield self.go(state, ("look", *known[:4], "after"))
            return
        manifests = frozenset(
            each._replace(sure=True) if each.name == self.name else each for each in state.manifests
        )
        yield self.go(state._replace(manifests=manifests), ("done", *known))

    def _done(self, state: State, *known: Any) -> Iterator[State]:
        yield self.go(state.without_lease(self.name), ("end",))


class Mount(Actor):
    """Shows any one snapshot."""

    start = ("look",)

    def steps(self, state: State) -> Iterator[State]:
        at, *shown = state.actors[self.number]
        if at == "look":
            for manifest in state.manifests:
                if manifest.sure:
                    first = "lease" if self.rules.reader_leases_first else "again"
                    yield self.go(state, (first, manifest.name, manifest.needs))
        elif at == "lease":
            then = "again" if self.rules.reader_leases_first else "read"
            if not self.rules.reader_looks_again:
                then = "read"
            yield self.go(state.with_lease(Lease(self.name, None, shown[1])), (then, *shown))
        elif at == "again":
            then = "read" if self.rules.reader_leases_first else "lease"
            if state.stands(shown[0]):
                yield self.go(state, (then, *shown))
            else:
                yield self.go(state.without_lease(self.name), ("end",))
        elif at == "read":
            yield self.go(state.without_lease(self.name), ("end",))
        if at in ("again", "read"):
            yield self.died(state)

    def reads(self, state: State) -> bool:
        """Whether it needs the object now."""
        local = state.actors[self.number]
        return local[0] == "read" and bool(local[2])


class Forget(Actor):
    """Forgets any snapshots."""

    start = ("forget",)

    def steps(self, state: State) -> Iterator[State]:
        for manifest in state.manifests:
            if manifest.sure:
                yield state.without_manifest(manifest.name)


class Tag(Actor):
    """Puts a manifest again, with other labels: one that was forgotten meanwhile is back."""

    start = ("look",)

    def steps(self, state: State) -> Iterator[State]:
        at, *known = state.actors[self.number]
        if at == "look":
            for manifest in state.manifests:
                if manifest.sure:
                    yield self.go(state, ("lease", state.note_names, manifest))
        elif at == "lease":
            seen, manifest = known
            needs = manifest.needs and self.rules.tag_leases_its_snapshot
            yield self.go(state.with_lease(Lease(self.name, seen, needs)), ("read", manifest))
        elif at == "read":
            if known[0] in state.manifests:
                yield self.go(state, ("put", *known))
            else:
                yield self.go(state.without_lease(self.name), ("end",))
        elif at == "put":
            yield self.go(state._replace(manifests=state.manifests | {known[0]}), ("done",))
        elif at == "done":
            yield self.go(state.without_lease(self.name), ("end",))


class Prune(Actor):
    """Runs again and again. Where only a part of `p` is needed, that is copied to `q` first."""

    def __init__(self, number: int, rules: Rules, runs: int = 2) -> None:
        super().__init__(number, rules)
        #: Where it is, runs still to come, need, packs that it knows, writers that may rely on what.
        self.start = ("begin", runs, False, NONE, NONE)

    def steps(self, state: State) -> Iterator[State]:
        at, runs, *known = state.actors[self.number]
        if at == "begin" and not runs:
            return
        if at != "begin":
            # Killed: the next run begins anew.
            yield self.go(state, ("begin", runs, False, NONE, NONE))
        yield from getattr(self, "_" + at)(state, runs, *known)

    def _begin(self, state: State, runs: int, *_: Any) -> Iterator[State]:
        yield self.go(state, ("plan", runs - 1, state.needed, state.packs, NONE))

    def _plan(self, state: State, runs: int, need: bool, packs: Any, _: Any) -> Iterator[State]:
        need = need or any(lease.needs for lease in state.leases)
        standing = packs - state.condemned
        if not need:
            yield self.go(state, ("note", runs, need, packs, standing))
        elif standing == {"p"} and "q" not in state.packs:
            # Part of it is needed.
            copied = state._replace(packs=state.packs | {"q"})
            yield self.go(copied, ("note", runs, need, packs | {"q"}, frozenset({"p"})))
        else:
            # One copy is enough, and `p` is the worst place.
            keep = min(standing - {"p"} or standing, default="")
            yield self.go(state, ("note", runs, need, packs, standing - {keep}))

    def _note(self, state: State, runs: int, need: bool, packs: Any, going: Any) -> Iterator[State]:
        if going and self.rules.note_before_sweep:
            state = state._replace(notes=state.notes | {(f"note {runs}", going)})
        elif going:
            blocked = any(lease.seen is not None for lease in state.leases if not lease.dead)
            yield self.go(state, ("late", runs, need, packs, (going, blocked)))
            return
        first = "leases" if self.rules.sweep_lists_leases_before_manifests else "manifests"
        yield self.go(state, (first, runs, need, packs, NONE))

    def _late(self, state: State, runs: int, need: bool, packs: Any, listed: Any) -> Iterator[State]:
        """Leases were listed, and only now comes the note."""
        note, (going, blocked) = f"note {runs}", listed
        state = state._replace(notes=state.notes | {(note, going)})
        yield self.go(state, ("manifests", runs, need, packs, frozenset({note}) if blocked else NONE))

    def _leases(self, state: State, runs: int, need: bool, packs: Any, _: Any) -> Iterator[State]:
        then = "manifests" if self.rules.sweep_lists_leases_before_manifests else "readers"
        # Dead ones are removed.
        leases = frozenset(lease for lease in state.leases if not lease.dead)
        if not self.rules.sweep_lists_leases_after_manifests:
            need = need or any(lease.needs for lease in leases)
        unseen = frozenset(
            note
            for note, _ in state.notes
            if any(lease.seen is not None and note not in lease.seen for lease in leases)
        )
        yield self.go(state._replace(leases=leases), (then, runs, need, packs, unseen))

    def _manifests(self, state: State, runs: int, need: bool, packs: Any, unseen: Any) -> Iterator[State]:
        then = "readers" if self.rules.sweep_lists_leases_before_manifests else "leases"
        yield self.go(state, (then, runs, need or state.needed, packs, unseen))

    def _readers(self, state: State, runs: int, need: bool, packs: Any, unseen: Any) -> Iterator[State]:
        if self.rules.sweep_lists_leases_after_manifests:
            need = need or any(lease.needs for lease in state.leases)
        yield self.go(state, ("relabelled", runs, need, packs, unseen))

    def _relabelled(self, state: State, runs: int, need: bool, packs: Any, unseen: Any) -> Iterator[State]:
        if self.rules.sweep_lists_manifests_again and self.rules.sweep_lists_leases_before_manifests:
            need = need or state.needed
        yield self.go(state, ("rescue", runs, need, packs, unseen))

    def _rescue(self, state: State, runs: int, need: bool, packs: Any, unseen: Any) -> Iterator[State]:
        if self.rules.sweep_rescues and need and not packs & state.packs - state.condemned:
            state = state._replace(notes=NONE)
        waiting = unseen if self.rules.sweep_waits_for_writers else NONE
        going = frozenset((note, packs) for note, packs in state.notes if note not in waiting)
        yield self.go(state, ("delete", runs, need, packs, going))

    def _delete(self, state: State, runs: int, need: bool, packs: Any, going: Any) -> Iterator[State]:
        for note, condemned in sorted(going, key=str)[:1]:
            left = condemned & state.packs
            if left:
                yield self.go(
                    state._replace(packs=state.packs - {min(left)}), ("delete", runs, need, packs, going)
                )
            else:
                notes = frozenset(each for each in state.notes if each[0] != note)
                yield self.go(
                    state._replace(notes=notes),
                    ("delete", runs, need, packs, going - {(note, condemned)}),
                )
        if not going:
            yield self.go(state, ("begin", runs, False, NONE, NONE))


class Found(NamedTuple):
    """`loss`: the states that lead to one; empty where there is none."""

    states: int
    loss: list[State]


def search(make: Callable[[Rules], list[Actor]], rules: Rules, expiry: bool = False) -> Found:
    """All states that can be reached, breadth first, until one in which something needed is gone."""
    actors = make(rules)
    first = State(actors=tuple(actor.start for actor in actors))
    before: dict[State, State | None] = {first: None}
    waiting = deque([first])
    while waiting:
        state = waiting.popleft()
        if _lost(state, actors):
            return Found(len(before), _way(before, state))
        for actor in actors:
            for after in actor.steps(state):
                if after not in before:
                    before[after] = state
                    waiting.append(after)
            if expiry and isinstance(actor, Backup):
                for after in actor.expired(state):
                    if after not in before:
                        before[after] = state
                        waiting.append(after)
    return Found(len(before), [])


def _lost(state: State, actors: list[Actor]) -> bool:
    if state.packs:
        return False
    return any(manifest.needs and manifest.sure for manifest in state.manifests) or any(
        isinstance(actor, Mount) and actor.reads(state) for actor in actors
    )


def _way(before: dict[State, State | None], state: State) -> list[State]:
    way: list[State] = []
    here: State | None = state
    while here is not None:
        way.append(here)
        here = before[here]
    return way[::-1]
