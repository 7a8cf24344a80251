"""The rules choose as git does: the same names on random trees.

Of ASCII names: to git `?` is a byte, to us a character.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backup.source.gitignore import parse_lines
from backup.source.rules import Rules, Scope

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="compares with git")

NAMES = ["a", "b", "ab", "b.c", "a b", "b ", "!a", "#b", "[a]", "a\\b", "a*", "-", "]", "1", "x\ny", "a\n"]
#: Parts that patterns are put together from.
PARTS = [
    *(
        "a",
        "b",
        "c",
        ".",
        "1",
        "*",
        "*",
        "?",
        "/",
        "/",
        "**/",
        "/**",
        "/**/",
        "[ab]",
        "[!a]",
        "[^b]",
        "[a-c]",
    ),
    *(
        "[]a]",
        "[]-a]",
        "[a\\]]",
        "[[:alpha:]]",
        "[![:digit:]]",
        "[z-a]",
        "[a",
        "\\a",
        "\\*",
        "\\",
        "\\ ",
        " ",
        "!",
        "#",
        "-",
    ),
]
patterns = st.lists(st.sampled_from(PARTS), min_size=1, max_size=5).map("".join)
simple = st.sampled_from(
    ["*", "!*/", "!a", "a/", "/a", "!/a/b", "*.c", "!b.c", "a/*", "!a/b", "**/b", "a/**", "!a/**/b"]
)
rule_files = st.lists(patterns | simple | simple.map(lambda text: "!" + text), min_size=1, max_size=5)
trees = st.dictionaries(
    st.lists(st.sampled_from(NAMES), min_size=0, max_size=2).map(tuple), rule_files, min_size=1, max_size=3
)
files = st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(tuple), min_size=4, max_size=12)


def build(root: Path, rules: dict[tuple[str, ...], list[str]], paths: list[tuple[str, ...]]) -> None:
    for directory in rules:
        os.makedirs(root.joinpath(*directory), exist_ok=True)
    for path in paths:
        at = root.joinpath(*path)
        if any(parent.is_file() for parent in at.parents) or at.exists():
            continue
        os.makedirs(at.parent, exist_ok=True)
        at.touch()
    for directory, lines in rules.items():
        data = "\n".join(lines).encode(errors="surrogateescape") + b"\n"
        (root.joinpath(*directory) / ".gitignore").write_bytes(data)


def left_by_us(root: Path) -> set[bytes]:
    left = set()
    top = os.fsencode(root)
    waiting = [(top, Scope.of_source(Rules(), top))]
    while waiting:
        directory, scope = waiting.pop()
        ignore = os.path.join(directory, b".gitignore")
        if os.path.exists(ignore):
            scope = scope.below(
                directory, parse_lines(Path(os.fsdecode(ignore)).read_bytes(), "", lambda _: None)
            )
        place = scope.at(directory)
        for entry in os.scandir(directory):
            if entry.name == b".git" or place.excludes(entry.name, entry.stat(follow_symlinks=False)):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, scope))
            else:
                left.add(os.path.relpath(entry.path, top))
    return left


def left_by_git(root: Path) -> set[bytes]:
    command: list[str | Path] = [
        "git",
        "-C",
        root,
        "ls-files",
        "-z",
        "--others",
        "--exclude-per-directory=.gitignore",
    ]
    listed = subprocess.run(command, check=True, capture_output=True).stdout
    return {path for path in listed.split(b"\0") if path}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rules=trees, paths=files)
def test_the_same_names_stay_out_as_with_git(
    rules: dict[tuple[str, ...], list[str]], paths: list[tuple[str, ...]]
) -> None:
    """Parity row 13: exclusion: globs on names and paths, !, rule files, markers, classes."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        subprocess.run(["git", "init", "-q", root], check=True)
        build(root, rules, paths)
        assert left_by_us(root) == left_by_git(root)
