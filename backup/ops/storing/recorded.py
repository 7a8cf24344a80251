"""The rules of a backup as its manifest keeps them, for the next one and for those that ask."""

import os

from backup.model.text import to_bytes, to_name
from backup.snapshots.manifest import ChosenBy
from backup.source.gitignore import Pattern
from backup.source.patterns import option_pattern
from backup.source.rules import Marker, Rules


def record(rules: Rules) -> ChosenBy:
    """Equal for rules that choose alike."""
    return ChosenBy(
        patterns=tuple(to_name(os.fsencode(pattern.text)) for pattern in rules.patterns),
        weak_patterns=tuple(to_name(os.fsencode(pattern.text)) for pattern in rules.weak_patterns),
        ignore_names=tuple(to_name(name) for name in rules.ignore_names),
        markers=tuple((to_name(marker.name), to_name(marker.header)) for marker in rules.markers),
        larger_than=rules.larger_than,
        one_file_system=rules.one_file_system,
    )


def recorded(chosen: ChosenBy, origin: str) -> Rules:
    """The rules again; `origin` says whose they are. Raises `UsageError` for patterns that are none."""

    def pattern(text: bytes) -> Pattern:
        return option_pattern(os.fsdecode(text), origin)

    return Rules(
        patterns=tuple(pattern(to_bytes(text)) for text in chosen.patterns),
        weak_patterns=tuple(pattern(to_bytes(text)) for text in chosen.weak_patterns),
        ignore_names=tuple(to_bytes(name) for name in chosen.ignore_names),
        markers=tuple(Marker(to_bytes(name), to_bytes(header), origin) for name, header in chosen.markers),
        larger_than=chosen.larger_than,
        one_file_system=chosen.one_file_system,
    )
