"""Completion: what is offered after each Tab, by the program and by a real bash."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from backup.cli.commands import COMMANDS
from backup.cli.completing import Line, parse_line
from tests.support.calendar import add_snapshots
from tests.support.imbfs import Imbfs, command_of
from tests.support.small import build_small


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory, mark: str) -> Imbfs:
    """Two snapshots by two hosts, one with tags. Only queried."""
    imbfs = Imbfs(tmp_path_factory.mktemp("known"), mark)
    source = build_small(imbfs.directory / "source")
    (source / "two words").mkdir()
    (source / "two words" / "in $it").touch()
    imbfs.run("init")
    imbfs.run("backup", "--host", "here", source)
    add_snapshots(imbfs, ["2027-01-01T00:00:00+00:00"], host="there", tags=["weekly", "my tag"])
    return imbfs


def offered(imbfs: Imbfs, line: str, shell: str = "fish") -> list[str]:
    """The kind, and the candidates without what is said of them."""
    result = imbfs.run("completion", shell, "--", line)
    assert result.errors == ""
    lines = result.stdout.decode(errors="surrogateescape").splitlines()
    return [each.partition("\t")[0] for each in lines]


def ids(imbfs: Imbfs) -> list[str]:
    return [snapshot["id"][:12] for snapshot in reversed(imbfs.snapshots())]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("imbfs ", Line(["imbfs"], "", "")),
        ("imbfs  ls la", Line(["imbfs", "ls"], "la", "")),
        (r"imbfs cat latest:two\ wo", Line(["imbfs", "cat"], "latest:two wo", "")),
        ("imbfs cat 'latest:two wo", Line(["imbfs", "cat"], "latest:two wo", "'")),
        ('imbfs cat "a\'b" "" x', Line(["imbfs", "cat", "a'b", ""], "x", "")),
        ("imbfs cat a\\", Line(["imbfs", "cat"], "a", "")),
    ],
)
def test_a_line_is_taken_apart_as_a_shell_does_it(text: str, line: Line) -> None:
    assert parse_line(text) == line


def test_commands_and_options_and_choices_are_offered(known: Imbfs) -> None:
    assert offered(known, "imbfs ") == ["words", *COMMANDS]
    assert offered(known, "imbfs --js") == ["words", "--json"]
    assert offered(known, "imbfs -q sna") == ["words", "snapshots"]
    assert offered(known, "imbfs restore latest --over") == ["words", "--overwrite"]
    assert offered(known, "imbfs restore --overwrite k") == ["words", "keep"]
    assert offered(known, "imbfs restore --overwrite=k") == ["words", "--overwrite=keep"]
    assert offered(known, "imbfs index re") == ["words", "rebuild"]
    assert offered(known, "imbfs nonsense --") == ["words"]


def test_options_are_described(known: Imbfs) -> None:
    lines = known.run("completion", "zsh", "--", "imbfs restore --del").text.splitlines()
    assert lines == ["words", "--delete\tremove what the snapshot does not have"]


def test_snapshots_tags_and_hosts_are_those_of_the_repository(known: Imbfs) -> None:
    """Parity row 50: completion."""
    everything = ["words", "latest", *ids(known), "tag:my tag", "tag:weekly"]
    assert offered(known, "imbfs show ") == everything
    assert offered(known, "imbfs tag latest ") == everything
    assert offered(known, "imbfs tag latest --remove w") == ["words", "weekly"]
    assert offered(known, "imbfs snapshots --host t") == ["words", "there"]
    assert offered(known, "imbfs diff s") == ["words", "source"]
    assert offered(known, f"imbfs show {ids(known)[0][:5]}") == ["words", ids(known)[0]]


def test_paths_in_snapshots_are_offered(known: Imbfs) -> None:
    assert offered(known, "imbfs ls latest:su") == ["paths", "latest:sub/"]
    deeper = ["paths", "latest:sub/deeper/same as readme", "latest:sub/deeper/two"]
    assert offered(known, "imbfs cat latest:sub/deeper/") == deeper
    assert offered(known, "imbfs cat 'tag:my tag:rea") == ["paths", "tag:my tag:readme"]
    assert offered(known, f"imbfs cat latest:{known.directory}/source/rea") == [
        "paths", f"latest:{known.directory}/source/readme"
    ]  # fmt: skip
    assert "latest:caf\udce9" in offered(known, "imbfs cat latest:c")
    assert all("new" not in each for each in offered(known, "imbfs cat latest:"))  # a name of two lines


def test_files_and_directories_are_left_to_the_shell(known: Imbfs) -> None:
    assert offered(known, "imbfs backup ") == ["files"]
    assert offered(known, "imbfs umount ") == ["directories"]
    assert offered(known, "imbfs mount latest ") == ["directories"]
    assert offered(known, "imbfs mount ./") == ["directories"]
    assert offered(known, "imbfs --repo ") == ["directories"]
    assert offered(known, "imbfs restore latest --target ") == ["directories"]


def test_the_repository_is_the_one_that_the_line_names(known: Imbfs, tmp_path: Path) -> None:
    lone = Imbfs(tmp_path, known.mark)
    for line in (f"imbfs -r {known.repository} show lat", f"imbfs show --repo={known.repository} lat"):
        assert offered(lone, line) == ["words", "latest"]


def test_the_repository_is_that_of_the_profile_where_the_line_names_no_other(
    known: Imbfs, tmp_path: Path
) -> None:
    lone = Imbfs(tmp_path, known.mark)
    profile = lone.home() / ".config/imbfs/profiles/home.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text(f'repository = "{known.repository}"\n[backup]\npaths = ["/etc"]\n')
    for line in ("imbfs --profile home show lat", "imbfs show --profile=home lat"):
        found = lone.run("completion", "fish", "--", line, repository=False).text.splitlines()
        assert found == ["words", "latest\tthe newest"]
    assert lone.run("completion", "fish", "--", "imbfs --profile no ls ", repository=False).text == "words\n"


def test_a_tag_with_colons_is_one_tag(imbfs: Imbfs, source: Path) -> None:
    imbfs.run("init")
    imbfs.run("backup", source, "--tag", "a:b", "--tag", "a")
    assert imbfs.run("cat", "tag:a:b:readme").stdout == imbfs.run("cat", "tag:a:readme").stdout == b"hello\n"
    assert imbfs.run("ls", "tag:a:b").stdout == imbfs.run("ls", "latest").stdout
    assert offered(imbfs, "imbfs cat tag:a:b:rea") == ["paths", "tag:a:b:readme"]
    assert "tag:a:b" in offered(imbfs, "imbfs cat tag:a:")


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_a_real_fish_completes(known: Imbfs, tmp_path: Path) -> None:
    """Parity row 50: completion of paths and snapshots."""
    program = tmp_path / "imbfs"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(command_of())} "$@"\n')
    program.chmod(0o755)
    environment = known.environment()
    environment |= {"IMBFS_REPOSITORY": str(known.repository)}
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    script = f"{program} completion fish | source; complete -C 'imbfs cat latest:two\\\\ words/'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == ["latest:two words/in $it"], done.stderr


@pytest.mark.parametrize(
    "line", ["imbfs show ", "imbfs ls latest:", "imbfs ls 0000:", "imbfs ls @never:", ""]
)
def test_errors_are_no_use_to_somebody_who_is_typing(imbfs: Imbfs, line: str) -> None:
    assert offered(imbfs, line)[0] in ("words", "paths")


def test_an_answer_comes_at_once(known: Imbfs) -> None:
    """By time of the processor: a loaded machine is not slow code. The figure aimed at is 150 ms."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(3):
        offered(known, "imbfs ls latest:sub/")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used / 3 < 0.4


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script_that_asks_the_program(imbfs: Imbfs, shell: str) -> None:
    assert f"completion {shell} -- " in imbfs.run("completion", shell).text


def bash(imbfs: Imbfs, line: str) -> list[str]:
    """What a real bash has to choose from, with the script sourced."""
    script = """
        imbfs() { "${command[@]}" --repo "$repository" "$@"; }
        source <(imbfs completion bash)
        COMP_LINE=$line COMP_POINT=${#line}
        _imbfs imbfs 2>/dev/null
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    command = " ".join(f"'{word}'" for word in command_of())
    result = subprocess.run(
        ["bash", "--norc", "-c", f"command=({command})\n{script}"],
        env=imbfs.environment() | {"line": line, "repository": str(imbfs.repository)},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
    )
    assert result.stderr == ""
    return result.stdout.splitlines()


def test_bash_completes_what_follows_a_colon_and_quotes_what_it_must(known: Imbfs) -> None:
    assert bash(known, "imbfs ls latest:su") == ["sub/"]
    assert bash(known, "imbfs ls 'latest:two") == ["latest:two words/"]
    assert bash(known, r"imbfs ls latest:two\ words/in") == ["two words/in $it"]  # bash quotes paths
    assert bash(known, "imbfs tag latest --add my") == [r"my\ tag"]
    assert bash(known, "imbfs restore --overwrite=n") == ["never"]
    assert bash(known, "imbfs check --read") == ["--read-data"]
