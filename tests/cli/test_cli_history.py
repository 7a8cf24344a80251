"""Rules with `history = "latest"`, and profiles made of the configuration of other tools."""

import json
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.cli.profiles.history import left_out
from backup.cli.profiles.importing import from_mirror
from backup.cli.profiles.profile import History, Rule
from backup.source.patterns import option_pattern
from backup.source.rules import Rules, Scope
from tests.cli.test_cli_profiles import Profiles
from tests.support.check import WRONG_USE, assert_clear_error
from tests.support.imbfs import Imbfs

PATHS = [f"/{'/'.join(parts)}" for depth in range(1, 5) for parts in product("a[", repeat=depth)]


def build(root: Path, *files: str) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def names(imbfs: Imbfs, snapshot: str) -> set[bytes]:
    return {path for path, entry in imbfs.ls(snapshot, "-R").items() if entry["kind"] == "file"}


@given(st.dictionaries(st.sampled_from(PATHS), st.sampled_from(["all", "latest"])))
def test_the_deepest_rule_decides_on_a_path(said: dict[str, History]) -> None:
    rules = [Rule(path, (), history) for path, history in said.items()]
    patterns = tuple(option_pattern(text, "history") for text in left_out(rules))
    scope = Scope.of_source(Rules(patterns=patterns, ignore_names=()), b"/")
    for path in PATHS:
        parts = path.split("/")
        ways = ["/".join(parts[:end]) for end in range(2, len(parts) + 1)]
        decided = [said[way] for way in ways if way in said]
        gone = False
        for way in ways:
            directory, _, name = way.rpartition("/")
            pattern = scope.at((directory or "/").encode()).pattern(name.encode(), True)
            gone = gone or (pattern is not None and not pattern.negative)
        keeps = any(other.startswith(path + "/") and history == "all" for other, history in said.items())
        assert gone == (bool(decided) and decided[-1] == "latest" and not keeps), path


@pytest.fixture
def profiles(imbfs: Imbfs) -> Profiles:
    imbfs.run("init")
    return Profiles(imbfs)


def test_older_snapshots_lose_what_only_the_latest_keeps(profiles: Profiles, tmp_path: Path) -> None:
    """Parity row 20: tracked files keep history, the others only their latest state, changeable later."""
    source = build(tmp_path / "source", "big/x", "big/kept/y", "letters/z")
    rules = (
        f'[[rule]]\npath = "{source}/big"\nhistory = "latest"\n'
        f'[[rule]]\npath = "{source}/big/kept"\nhistory = "all"\n[prune]\nmax-unused = "0"\n'
    )
    profiles.sound("home", [source], rules)
    all_files = {b"big/x", b"big/kept/y", b"letters/z"}
    kept = all_files - {b"big/x"}
    profiles.imbfs.run("backup", source, "--host", "other")
    for number in range(3):
        (source / "big/x").write_text(str(number) * 5000)
        summary = profiles.run("--json", "run").json()
    assert summary["history"]["files_removed"] == 1
    assert summary["prune"]["bytes_freed"] > 0
    assert [names(profiles.imbfs, f"latest~{n}") for n in range(4)] == [all_files, kept, kept, all_files]
    assert profiles.run("check", "--profile", "home", "--read-data").code == 0
    # Changed later: what is there from now on stays.
    profiles.sound("home", [source])
    (source / "big/x").write_text("new")
    assert profiles.run("--json", "run").json()["history"] is None
    assert [names(profiles.imbfs, f"latest~{n}") for n in range(3)] == [all_files, all_files, kept]


def test_a_source_that_only_the_latest_keeps_stays_as_an_empty_directory(
    profiles: Profiles, tmp_path: Path
) -> None:
    one, two = build(tmp_path / "one", "a"), build(tmp_path / "two", "b")
    profiles.sound("home", [one, two], f'[[rule]]\npath = "{one}"\nhistory = "latest"\n')
    for _ in range(2):
        profiles.run("run")
    assert set(profiles.imbfs.ls("latest~1", "-R")) == {b"one", b"two", b"two/b"}
    assert names(profiles.imbfs, "latest") == {b"one/a", b"two/b"}


MIRROR = {
    "src": "~/data",
    "dist": "/mnt/$disk",
    "include_dirs": ["photos", "work/"],
    "track_dirs": ["work/texts", "letters"],
    "include_files": ["todo.txt", "*.pdf:rec"],
    "exclude_dirs": ["cache", "work/tmp"],
    "exclude_files": ["*.o:rec", "work/x.iso"],
    "max_workers": 4,
    "colour": "blue",
}


def test_the_configuration_of_a_mirror_becomes_a_profile(profiles: Profiles) -> None:
    """Parity row 46: imported, with what cannot be carried over told."""
    file = profiles.imbfs.directory / "my mirror.json"
    file.write_text(json.dumps(MIRROR))
    result = profiles.run("profile", "import", file, "mirror")
    assert "'*.pdf:rec'" in result.errors
    assert "colour" in result.errors
    data = profiles.imbfs.home() / "data"
    assert json.loads(profiles.run("profile", "export", "mirror", "--json").stdout) == {
        "repository": "/mnt/$$disk/imbfs",
        "backup": {
            "paths": [str(data / name) for name in ("letters", "photos", "todo.txt", "work", "work/texts")],
            "exclude": ["cache/", f"{data}/work/tmp/", "*.o", f"{data}/work/x.iso"],
            "workers": 4,
        },
        "rule": [
            *({"path": str(data / name), "history": "latest"} for name in ("photos", "todo.txt", "work")),
            {"path": str(data / "work/texts"), "history": "all"},
        ],
    }
    assert profiles.run("profile", "check", "mirror").code == 0
    assert_clear_error(profiles.run("profile", "import", file, "mirror", check=False), WRONG_USE, "exists")


def test_a_profile_is_exported_and_imported(profiles: Profiles, tmp_path: Path) -> None:
    """Parity row 46: exported and imported."""
    source = build(tmp_path / 's "$x" \x7f', "a")
    name = str(source).replace("$", "$$").replace("\\", "\\\\").replace('"', '\\"').replace("\x7f", "\\u007f")
    text = f'# mine\n[backup]\npaths = "{name}"\none-file-system = true\n[hooks]\n'
    text += 'timeout = 1.5\nbefore = [["a"], ["b"]]\n'
    profiles.write("home", text)
    for suffix, option in ((".toml", "--quiet"), (".json", "--json")):
        file = tmp_path / f"copy-{suffix[1:]}{suffix}"
        file.write_bytes(profiles.run("profile", "export", "home", option).stdout)
        profiles.run("profile", "import", file)
    shown = (profiles.run("profile", "show", which, "--json") for which in ("home", "copy-toml", "copy-json"))
    one, two, three = (json.loads(result.stdout) for result in shown)
    assert one == two == three
    assert profiles.run("profile", "show", "copy-toml").text == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be made a profile"),
        ("[]", "no JSON object"),
        ('{"src": 3}', "src"),
        ('{"src": "rel", "dist": "/x"}', "src"),
        ('{"src": "/x", "include_dirs": "photos"}', "include_dirs"),
        ('{"src": "/x", "include_dirs": ["*"]}', "wildcards"),
        ('{"backup": {"paths": "rel"}}', "no absolute path"),
        ('{"backup": {"paths": null}}', "null"),
    ],
)
def test_what_cannot_be_imported_is_told(profiles: Profiles, text: str, says: str) -> None:
    file = profiles.imbfs.directory / "wrong.json"
    file.write_text(text)
    assert_clear_error(profiles.run("profile", "import", file, check=False), WRONG_USE, "wrong.json", says)
    assert not profiles.directory.exists()


def test_without_lists_all_of_src_is_backed_up() -> None:
    assert from_mirror({"src": "/x"}).profile == {"backup": {"paths": ["/x"]}}


def test_forgetting_by_a_profile_leaves_some_paths_to_the_latest_snapshot(
    profiles: Profiles, tmp_path: Path
) -> None:
    """Parity row 20: applied by forget and prune as well."""
    source = build(tmp_path / "source", "big/x", "letters/z")
    rules = f'[[rule]]\npath = "{source}/big"\nhistory = "latest"\n[forget]\nkeep-last = 5\n'
    profiles.sound("home", [source], rules)
    for number in range(2):
        (source / "big/x").write_text(str(number) * 5000)
        profiles.run("--profile", "home", "backup")
    before = names(profiles.imbfs, "latest~1")
    would = profiles.run("--json", "--profile", "home", "forget", "--dry-run").json()
    assert would["history"]["files_removed"] == 1
    assert names(profiles.imbfs, "latest~1") == before == {b"big/x", b"letters/z"}
    done = profiles.run("--json", "--profile", "home", "forget", "--prune").json()
    assert done["history"]["files_removed"] == 1
    assert [names(profiles.imbfs, f"latest~{n}") for n in range(2)] == [before, {b"letters/z"}]
    profiles.run("--profile", "home", "check", "--read-data")
