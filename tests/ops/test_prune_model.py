"""The rules of `docs/design.md`, "Neighbours", in every order of steps; and without each of them."""

from collections.abc import Callable

import pytest

from tests.support.neighbours import Actor, Backup, Forget, Mount, Prune, Rules, Tag, search

Make = Callable[[Rules], list[Actor]]


def two_backups(rules: Rules) -> list[Actor]:
    return [Backup(0, rules), Backup(1, rules, takes_over=True), Forget(2, rules), Prune(3, rules, 1)]


def backup(rules: Rules) -> list[Actor]:
    return [Backup(0, rules), Forget(1, rules), Prune(2, rules, 2)]


def backup_and_mount(rules: Rules) -> list[Actor]:
    return [Backup(0, rules), Mount(1, rules), Forget(2, rules), Prune(3, rules, 1)]


def mount(rules: Rules) -> list[Actor]:
    return [Mount(0, rules), Forget(1, rules), Prune(2, rules, 2)]


def backup_and_tag(rules: Rules) -> list[Actor]:
    return [Backup(0, rules), Tag(1, rules), Forget(2, rules), Prune(3, rules, 1)]


@pytest.mark.parametrize(
    ("make", "states"),
    [
        (two_backups, 50_000),
        (backup, 10_000),
        (backup_and_mount, 10_000),
        (mount, 1_000),
        (backup_and_tag, 10_000),
    ],
)
def test_in_no_order_of_steps_is_anything_needed_deleted(make: Make, states: int) -> None:
    """Every process may be killed after every step."""
    found = search(make, Rules())
    assert found.loss == []
    assert found.states > states


def test_a_backup_that_is_taken_for_dead_and_goes_on_loses_nothing() -> None:
    found = search(backup, Rules(), expiry=True)
    assert found.loss == []
    assert found.states > 10_000


LEFT_OUT: list[tuple[str, Make]] = [
    ("lease_before_look", backup),
    ("condemned_is_not_stored", backup),
    ("taken_over_is_secured", two_backups),
    ("lease_until_manifest", backup),
    ("reader_leases_first", mount),
    ("reader_looks_again", mount),
    ("tag_leases_its_snapshot", backup_and_tag),
    ("sweep_waits_for_writers", backup),
    ("sweep_lists_leases_before_manifests", backup),
    ("sweep_lists_leases_after_manifests", backup_and_mount),
    ("sweep_lists_manifests_again", backup_and_tag),
    ("sweep_rescues", backup),
    ("note_before_sweep", backup),
]
#: Without these, only a backup that was taken for dead loses something.
LEFT_OUT_WITH_EXPIRY = ["lease_looked_at_again", "names_differ"]


@pytest.mark.parametrize(("rule", "make"), LEFT_OUT)
def test_without_any_one_rule_something_needed_is_deleted(rule: str, make: Make) -> None:
    assert search(make, Rules(**{rule: False})).loss != []


@pytest.mark.parametrize("rule", LEFT_OUT_WITH_EXPIRY)
def test_without_these_rules_a_backup_that_was_taken_for_dead_loses_something(rule: str) -> None:
    assert search(backup, Rules(**{rule: False}), expiry=True).loss != []


def test_every_rule_is_left_out_once() -> None:
    assert sorted([*(rule for rule, _ in LEFT_OUT), *LEFT_OUT_WITH_EXPIRY]) == sorted(Rules._fields)
