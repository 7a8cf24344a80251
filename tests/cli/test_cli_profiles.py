"""Profiles: what is read from them, what is wrong with them, and commands that use them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from backup.cli.profiles.lines import Way, line_of
from backup.cli.profiles.profile import Rule, patterns_of
from tests.support.check import WRONG_USE, assert_clear_error
from tests.support.imbfs import Imbfs, Result


class Profiles:
    """The profiles of a test's own home, and imbfs without `--repo`."""

    def __init__(self, imbfs: Imbfs) -> None:
        self.imbfs = imbfs
        self.directory = imbfs.home() / ".config/imbfs/profiles"

    def write(self, name: str, text: str) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        file = self.directory / f"{name}.toml"
        file.write_text(text)
        return file

    def sound(self, name: str, paths: list[Path], more: str = "") -> Path:
        where = f"repository = {json.dumps(str(self.imbfs.repository))}\n"
        return self.write(
            name, f"{where}[backup]\npaths = {json.dumps([str(path) for path in paths])}\n{more}"
        )

    def run(self, *args: Any, check: bool = True, **options: Any) -> Result:
        return self.imbfs.run(*args, check=check, repository=False, **options)


@pytest.fixture
def profiles(imbfs: Imbfs) -> Profiles:
    imbfs.run("init")
    return Profiles(imbfs)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "letters").mkdir(parents=True)
    for name in ("a.txt", "b.tmp", "letters/c.tmp", "letters/d.bak"):
        (source / name).write_text(name)
    return source


def names(imbfs: Imbfs, snapshot: str = "latest") -> set[bytes]:
    return set(imbfs.ls(snapshot, "-R"))


# ---- what a profile says -------------------------------------------------------------------------


def test_a_profile_names_repository_paths_and_what_stays_out(profiles: Profiles, source: Path) -> None:
    profiles.sound("home", [source], 'exclude = "*.tmp"\ntag = ["x", "y"]\ndescription = "words, and $HOME"')
    profiles.run("backup", "--profile", "home")
    assert names(profiles.imbfs) == {b"a.txt", b"letters", b"letters/d.bak"}
    [snapshot] = json.loads(profiles.run("--profile", "home", "--json", "snapshots").stdout)
    assert (snapshot["tags"], snapshot["description"]) == (["x", "y"], "words, and $HOME")


def test_rules_by_path_win_over_general_ones(profiles: Profiles, source: Path) -> None:
    """Parity row 12: rules by path."""
    rule = f'[[rule]]\npath = "{source}/letters"\nexclude = ["*.bak"]\ninclude = "c.tmp"\n'
    profiles.sound("home", [source], f'exclude = "*.tmp"\n{rule}')
    profiles.run("backup", "--profile", "home")
    assert names(profiles.imbfs) == {b"a.txt", b"letters", b"letters/c.tmp"}
    told = profiles.run("why", "--profile", "home", source / "letters/c.tmp", source / "letters/d.bak").text
    assert [line.split()[0] for line in told.splitlines()] == ["in", "out"]


def test_home_and_variables_are_replaced_in_places_only(profiles: Profiles, tmp_path: Path) -> None:
    """Parity row 12: paths with `~`."""
    home = profiles.imbfs.home()
    for name in ("one", "two", "$3"):
        (home / name).mkdir()
    profiles.write(
        "home", '[backup]\npaths = ["~/one", "$PLACE/two", "${PLACE}/$$3"]\ndescription = "~ $PLACE"'
    )
    profiles.run("--profile", "home", "backup", "--repo", profiles.imbfs.repository, env={"PLACE": str(home)})
    [snapshot] = profiles.imbfs.snapshots()
    assert snapshot["paths"] == sorted(str(home / name) for name in ("one", "two", "$3"))
    assert snapshot["description"] == "~ $PLACE"


def test_the_command_line_wins_over_the_profile(profiles: Profiles, source: Path, tmp_path: Path) -> None:
    profiles.sound("home", [source], 'host = "there"\nexclude = "*.tmp"')
    profiles.run("backup", "--profile", "home", "--host", "here", "--include", "b.tmp", source / "letters")
    [snapshot] = profiles.imbfs.snapshots()
    assert (snapshot["host"], snapshot["paths"]) == ("here", [str(source / "letters")])
    other = tmp_path / "other"
    profiles.run("init", "--repo", other)
    profiles.run("backup", "--profile", "home", env={"IMBFS_REPOSITORY": str(other)})
    assert len(profiles.imbfs.snapshots()) == 1


@pytest.mark.parametrize(
    ("pattern", "below"),
    [
        ("*.o", "/a\\[b/**/*.o"),
        ("x/y", "/a\\[b/x/y"),
        ("/x", "/a\\[b/x"),
        ("x/", "/a\\[b/**/x/"),
        ("!*.o", "!/a\\[b/**/*.o"),
    ],
)
def test_a_rules_pattern_holds_below_its_path(pattern: str, below: str) -> None:
    assert patterns_of(Rule("/a[b", (pattern,))) == [below]


# ---- what is wrong -------------------------------------------------------------------------------

WRONG = [
    ('repositry = "/x"', 1, "did you mean 'repository'"),
    ("\n[bakup]\n", 2, "did you mean 'backup'"),
    ('[backup]\npaths = "/x"\n\nexclud = "x"', 4, "did you mean 'exclude'"),
    ("[backup]\none_file_system = true", 2, "did you mean 'one-file-system'"),
    ('[backup]\none-file-system = "yes"', 2, "true or false"),
    ('[backup]\npaths = ["/x",\n  "rel"]', 3, "no absolute path"),
    ('[backup]\npaths = "$NO_SUCH_VARIABLE/x"', 2, "NO_SUCH_VARIABLE"),
    ('[backup]\npaths = "/x/$"', 2, "lone $"),
    ("[backup]\npaths = 3", 2, "texts"),
    ("[backup]\ndescription = [1]", 2, "one text"),
    ('[backup]\nexclude = [\n "ok",\n "[bad",\n]', 4, "never closed"),
    ('[backup]\nexclude-file = "/no/such/file"', 2, "No such file"),
    ('[backup]\nlimit-rate = "12"', 2, "less than"),
    ('[backup]\ntag = "a,b"', 2, "a,b"),
    ('[backup]\ntag = "x"', 1, "what to back up"),
    ('[backup]\ntime = "now"', 2, "no such key"),
    ('[forget]\nkeep-last = "x"', 2, "neither a number"),
    ("[forget]\nkeep-last = 0", 1, "keeps nothing"),
    ('[forget]\ngroup-by = "host"', 1, "keeps nothing"),
    ("[forget]\nkeep-last = 1", 1, "give host, path or tag"),
    ('\n[[rule]]\npath = "/x"', 2, "no [backup]"),
    ('[[rule]]\npath = "/x"\nhistory = "some"', 3, '"latest"'),
    ('[check]\nsubset = "5%"', 1, "read-data"),
    ('[check]\nsubset = "200%"', 2, "share"),
    ('[prune]\nevery = "3q"', 2, "no duration"),
    ('[prune]\nmax-unused = "200"', 2, "share"),
    ("[rule]\npath = 3", 1, "[[rule]]"),
    ('[[rule]]\nexclude = "x"', 1, "path"),
    ('[backup]\npaths = "/x"\n[[rule]]\n\npath = "/y"', 5, "/y is in nothing"),
    ('[names]\nphotos = "/x"\n[backup]\npaths = "phots:2025"', 4, "did you mean 'photos'"),
    ('[backup]\npaths = "photos:2025"', 2, "[names] has no 'photos'"),
    ('[names]\nphotos = "x"', 2, "no absolute path"),
    ('[names]\n\nphotos = "$NO_SUCH_VARIABLE"', 3, "NO_SUCH_VARIABLE"),
    ('[names]\n"a/b" = "/x"', 2, "letters"),
    ("[names]\nphotos = [1]", 2, "one text"),
    ('[names]\na = "/x"\nb = "a:y"', 3, "[names] has no 'a'"),
    ("names = 3", 1, "[names]"),
    ('[hooks]\nbefore = "rm -rf"', 2, "its words"),
    ("[hooks]\nafter = [[]]", 2, "needs a name"),
    ("[hooks]\ntimeout = -1", 2, "above 0"),
    ("backup = 3", 1, "is a table"),
    ("\n\na = [", 3, "not TOML"),
    ("a = 1\na = 2", 2, "not TOML"),
]


@pytest.mark.parametrize(("text", "line", "says"), WRONG)
def test_what_is_wrong_is_told_with_its_line(imbfs: Imbfs, text: str, line: int, says: str) -> None:
    """Parity row 46: configuration is validated."""
    from argparse import Namespace

    from backup.cli.context import Context
    from backup.cli.profiles.reading import examine

    arguments = Namespace(json=False, quiet=False, verbose=0, no_progress=True, repo="/x")
    problems = examine("x", text, Context(arguments))[1]
    assert [problem.line for problem in problems] == [line], problems
    assert says in problems[0].text


def test_a_wrong_profile_stops_every_command_before_it_does_anything(
    profiles: Profiles, source: Path
) -> None:
    """Parity row 22: all are checked before the first starts."""
    profiles.sound("good", [source])
    profiles.sound("bad", [source], "exclude-cache = true")
    result = profiles.run("backup", "--profile", "good", "--profile", "bad", check=False)
    assert_clear_error(result, WRONG_USE, "bad.toml:4", "exclude-caches")
    assert profiles.imbfs.snapshots() == []


@pytest.mark.parametrize("what", ["repository", "paths"])
def test_of_several_profiles_none_starts_where_one_cannot(
    profiles: Profiles, source: Path, what: str
) -> None:
    profiles.sound("good", [source])
    gone = source / "gone"
    if what == "repository":
        profiles.write("bad", f'repository = "{gone}"\n[backup]\npaths = "{source}"')
    else:
        profiles.sound("bad", [gone])
    result = profiles.run("backup", "--profile", "good", "--profile", "bad", check=False)
    assert_clear_error(result, 10 if what == "repository" else 1, "gone")
    assert profiles.imbfs.snapshots() == []


def test_several_profiles_are_backed_up_in_one_run(profiles: Profiles, source: Path) -> None:
    """Parity row 22: several profiles in one command."""
    profiles.sound("one", [source / "letters"])
    profiles.sound("two", [source])
    result = profiles.run("backup", "--profile", "one", "--json", "--profile", "two")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["profile"] for line in lines] == ["one", "two"]
    assert {snapshot["id"] for snapshot in profiles.imbfs.snapshots()} == {line["snapshot"] for line in lines}
    refused = profiles.run("snapshots", "--profile", "one", "--profile", "two", check=False)
    assert_clear_error(refused, WRONG_USE, "one profile")


def test_a_profile_that_is_not_there_is_told_with_the_nearest(profiles: Profiles, source: Path) -> None:
    profiles.sound("documents", [source])
    assert_clear_error(profiles.run("run", "dokuments", check=False), 1, "did you mean 'documents'")
    assert_clear_error(profiles.run("run", "../x", check=False), WRONG_USE, "cannot name a profile")
    (profiles.directory / "latin.toml").write_bytes(b"a = 1\nb = '\xff'\n")
    assert_clear_error(profiles.run("run", "latin", check=False), WRONG_USE, "latin.toml:2", "UTF-8")


def test_a_line_is_found_in_dotted_and_inline_tables() -> None:
    text = "a.b = 1\n[c]\nd = {e = 2}\n[[g]]\nx = 1\n[[g]]\ny = [\n1,\n]\n"
    ways: list[Way] = [("a", "b"), ("c", "d", "e"), ("g", 1, "y"), ("z",)]
    assert [line_of(text, way) for way in ways] == [1, 3, 7, 1]


# ---- imbfs profile -------------------------------------------------------------------------------


def test_init_writes_a_profile_that_runs_and_never_over_another(profiles: Profiles, source: Path) -> None:
    """Parity row 46: a default is written."""
    spaced = source / 'a $b "c"'
    spaced.mkdir()
    profiles.run("profile", "init", "--path", spaced)
    profiles.run("run", "default", "--repo", profiles.imbfs.repository)
    assert profiles.imbfs.snapshots()[0]["paths"] == [str(spaced)]
    assert_clear_error(profiles.run("profile", "init", check=False), WRONG_USE, "exists")
    assert os.listdir(profiles.directory) == ["default.toml"]


def editor(directory: Path, script: str) -> dict[str, str]:
    program = directory / "my editor"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"VISUAL": f"'{program}' -x"}


def test_edit_replaces_a_profile_only_by_a_right_one(
    profiles: Profiles, source: Path, tmp_path: Path
) -> None:
    """Parity row 46: edited with validation."""
    file = profiles.sound("home", [source])
    before = file.read_bytes()
    wrong = profiles.run("profile", "edit", "home", env=editor(tmp_path, 'echo "x = 1" >> "$2"'), check=False)
    assert_clear_error(wrong, WRONG_USE, "left as it was")
    failed = profiles.run("profile", "edit", "home", env=editor(tmp_path, "exit 3"), check=False)
    assert_clear_error(failed, 1, "exit code 3")
    assert file.read_bytes() == before
    profiles.run("profile", "edit", "home", env=editor(tmp_path, 'echo \'tag = "new"\' >> "$2"'))
    assert file.read_bytes() == before + b'tag = "new"\n'
    assert os.listdir(profiles.directory) == ["home.toml"]


def test_a_byte_order_mark_is_no_part_of_a_profile(profiles: Profiles, source: Path) -> None:
    file = profiles.sound("home", [source])
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    profiles.run("run", "home")


@pytest.mark.parametrize(
    "line", ["imbfs run h", "imbfs --profile h", "imbfs ls --profile=h", "imbfs schedule remove h"]
)
def test_the_shell_completes_names_of_profiles(profiles: Profiles, source: Path, line: str) -> None:
    for name in ("home", "house", "other"):
        profiles.sound(name, [source])
    lines = profiles.run("completion", "zsh", line).text.splitlines()
    assert [each.rpartition("=")[2].strip() for each in lines] == ["words", "home", "house"]


def test_list_check_and_show_take_wrong_profiles_too(profiles: Profiles, source: Path) -> None:
    profiles.sound("good", [source])
    profiles.write("bad", "x = 1\n\ny = 2\n")
    listed = json.loads(profiles.run("--json", "profile", "list").stdout)
    assert [(each["name"], each["problems"]) for each in listed] == [("bad", 2), ("good", 0)]
    result = profiles.run("profile", "check", check=False)
    assert result.code == WRONG_USE
    assert [line.split("bad.toml:")[1][:2] for line in result.text.splitlines()] == ["1:", "3:"]
    assert profiles.run("profile", "check", "good").text == ""
    assert profiles.run("profile", "show", "bad").text == "x = 1\n\ny = 2\n"
    assert json.loads(profiles.run("profile", "show", "bad", "--json").text) == {"x": 1, "y": 2}
