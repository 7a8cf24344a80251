"""The documents say what the program does: commands, options, exit codes, links, names and the transcript."""

import argparse
import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path

import pytest

from backup.cli import exits
from backup.cli.commands import COMMANDS
from backup.cli.main import command_parser, parse
from backup.cli.profiles.keys import ALL_TABLES, keys_of
from backup.cli.rules import add_rules
from backup.cli.selecting import add_filters
from backup.model.selector import parse_selector
from tests.support.imbfs import MARK
from tests.test_layers import ALLOWED, PACKAGES

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
COMMANDS_PAGE = ROOT / "docs/commands.md"
PROFILES_PAGE = ROOT / "docs/profiles.md"
DESIGN = ROOT / "docs/design.md"
FORMAT = ROOT / "docs/format.md"
PHOTOS = ROOT / "docs/photos.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

#: Places in examples, and what every Linux has.
PLACES = (
    "/home/ann",
    "/media/usb",
    "/mnt",
    "/dev",
    "/etc",
    "/home",
    "/proc",
    "/sbin",
    "/sys",
    "/no/such",
    "/tmp",
    "/usr/src",
)
#: Where the options of `scripts/bench` are told.
BENCH_PAGES = (ROOT / "docs/performance.md", ROOT / "docs/scale.md")
#: One word a thing: docs/design.md has the words that stand in their place.
SYNONYMS = re.compile(
    r"\b(archives?|vaults?|backup sets?|(restore|recovery) points?|checkpoints?|data ?stores?|blobs?"
    r"|corrupt\w*)\b",
    re.IGNORECASE,
)

documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
commands = pytest.mark.parametrize("command", COMMANDS)


# ---- reading a document --------------------------------------------------------------------------


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def headings(document: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", without_code(document.read_text()), re.MULTILINE)


def anchor(heading: str) -> str:
    """The name by which GitHub links to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def section(document: Path, heading: str) -> str:
    """What stands below a heading, to the next one of the same rank."""
    match = re.search(rf"^(#+) {re.escape(heading)}$", document.read_text(), re.MULTILINE)
    assert match, f"{document.name} has no section {heading!r}"
    rest = document.read_text()[match.end() :]
    following = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.MULTILINE)
    return rest[: following.start()] if following else rest


def rows(text: str, head: str) -> Iterator[list[str]]:
    """The cells of the tables whose first head is this one."""
    inside = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            inside = False
        elif inside and not set(cells[0]) <= set("-: "):
            yield cells
        elif cells[0] == head:
            inside = True


def console_lines(document: Path) -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


# ---- commands and options ------------------------------------------------------------------------


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {option for action in parser._actions for option in action.option_strings}


def global_options() -> set[str]:
    """Those that even a command without any of its own takes."""
    return set.intersection(*(options_of(command_parser(command)) for command in COMMANDS))


def filter_options() -> set[str]:
    parser = argparse.ArgumentParser(add_help=False)
    add_filters(parser)
    return options_of(parser)


def rule_options() -> set[str]:
    parser = argparse.ArgumentParser(add_help=False)
    add_rules(parser)
    return options_of(parser)


def documented_options(text: str, head: str = "option") -> set[str]:
    found: set[str] = set()
    for option, *_ in rows(text, head):
        found |= set(re.findall(r"`(--?[a-zA-Z][a-z0-9-]*)", option))
    return found


def test_the_documented_commands_are_those_of_the_program_in_its_order() -> None:
    named = [heading for heading in headings(COMMANDS_PAGE) if heading in COMMANDS or heading.islower()]
    assert named == [*COMMANDS]


@commands
def test_a_command_has_exactly_the_options_that_its_section_lists(command: str) -> None:
    text = section(COMMANDS_PAGE, command)
    documented = documented_options(text)
    if "(#naming-a-snapshot)" in text:
        documented |= filter_options()
    if "(#what-stays-out)" in text:
        documented |= rule_options()
    assert documented == options_of(command_parser(command)) - global_options()


def test_options_of_every_command_are_those_listed() -> None:
    assert documented_options(section(COMMANDS_PAGE, "Options of every command")) == global_options()


def test_the_options_that_narrow_the_choice_are_those_listed() -> None:
    text = section(COMMANDS_PAGE, "Naming a snapshot")
    assert documented_options(text, "option") == filter_options()


def test_the_options_that_say_what_stays_out_are_those_listed() -> None:
    assert documented_options(section(COMMANDS_PAGE, "What stays out")) == rule_options()


@commands
def test_every_choice_that_an_option_takes_is_documented(command: str) -> None:
    text = section(COMMANDS_PAGE, command).replace("\\|", "|")
    for action in command_parser(command)._actions:
        for choice in action.choices or ():
            assert re.search(rf"\b{re.escape(choice)}\b", text), f"{action.dest}: {choice}"


@commands
def test_a_command_has_an_example(command: str) -> None:
    assert re.search(
        rf"```console\n(\$ .*\n)*\$ imbfs (--\S+ )*(\S+ )*?{command}\b", section(COMMANDS_PAGE, command)
    )


@commands
def test_the_readme_names_every_command(command: str) -> None:
    assert re.search(rf"`{command}`|imbfs {command}\b", README.read_text())


def examples() -> list[str]:
    lines = {line for document in DOCUMENTS for line in console_lines(document)}
    return sorted(line for line in lines if line.startswith("imbfs "))


@pytest.mark.parametrize("line", examples())
def test_an_example_is_a_command_that_the_program_takes(line: str) -> None:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&><")
    lexer.whitespace_split = True
    words = list(takewhile(lambda word: word[0] not in "|;&><", lexer))
    parse(words[1:])  # SystemExit for what cannot be


def bench_options() -> set[str]:
    shown = [
        subprocess.run(
            [sys.executable, ROOT / "scripts/bench", verb, "--help"], capture_output=True, text=True
        )
        for verb in ("mount", "backup", "scale", "table")
    ]
    return {option for result in shown for option in re.findall(r"--[a-z][a-z_-]*", result.stdout)}


@documents
def test_an_option_in_running_text_exists(document: Path) -> None:
    """A long option in a code span that begins with `imbfs` or with the option itself."""
    known = {option for command in COMMANDS for option in options_of(command_parser(command))} | {"--version"}
    if document in BENCH_PAGES:
        known |= bench_options()
    for span in re.findall(r"`([^`\n]+)`", without_code(document.read_text())):
        words = span.split()
        if words[0] == "imbfs" or words[0].startswith("--"):
            assert set(re.findall(r"(?<!\S)\(?(--[a-z0-9_-]+)", span)) <= known, span


# ---- exit codes, selectors, words ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "heading"),
    [(README, "Exit codes"), (COMMANDS_PAGE, "Exit codes")],
    ids=["readme", "commands"],
)
def test_the_exit_codes_are_those_of_the_program(document: Path, heading: str) -> None:
    documented = {int(code) for code, *_ in rows(section(document, heading), "code")}
    assert documented == {
        code for name, code in vars(exits).items() if name.isupper() and isinstance(code, int)
    }


def test_the_selectors_in_the_readme_are_understood() -> None:
    listed = [cells[0].strip("`") for cells in rows(section(README, "Naming a snapshot"), "SNAPSHOT")]
    assert len(listed) > 3
    for text in listed:
        parse_selector(text.replace('"', ""), datetime.now(UTC))


@commands
def test_the_help_uses_one_word_a_thing(command: str) -> None:
    assert not SYNONYMS.findall(command_parser(command).format_help())


@documents
def test_a_document_uses_one_word_a_thing(document: Path) -> None:
    # An option of another program in an example is that program's word.
    assert not SYNONYMS.findall(without_code(document.read_text()))


def test_the_words_are_those_that_the_code_uses() -> None:
    """Each word of the table is met in the engine, as a word or as a part of a name."""
    code = "\n".join(
        path.read_text() for path in [*ROOT.glob("backup/**/*.py"), *ROOT.glob("fusefs/*.py")]
    ).lower()
    words = [word for cells in rows(section(DESIGN, "Words"), "word") for word in cells[0].split(", ")]
    assert len(words) > 10
    assert [word for word in words if word not in code] == []


def test_the_profiles_page_has_every_key_and_no_other() -> None:
    titles = {"": "At the top", "rule": "[[rule]]"}
    for table in ("", *ALL_TABLES):
        text = section(PROFILES_PAGE, titles.get(table, f"[{table}]"))
        cells = [cells[0] for head in ("key", "keys") for cells in rows(text, head)]
        assert {key for cell in cells for key in re.findall(r"`([^`]+)`", cell)} == set(keys_of(table)), table


# ---- links and names -----------------------------------------------------------------------------


@documents
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(document.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, name = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        assert file.is_relative_to(ROOT), target
        assert not name or name in map(anchor, headings(file)), target


@documents
def test_every_file_named_in_a_document_exists(document: Path) -> None:
    text = without_code(document.read_text())
    for name in re.findall(r"`((?:backup|fusefs|tests|scripts|docs|\.ci)/[\w./-]*)`", text):
        assert (ROOT / name).exists(), name


@documents
def test_every_test_named_in_a_document_exists(document: Path) -> None:
    sources = {path: path.read_text() for path in ROOT.glob("tests/**/*.py")}
    files = {path.stem for path in sources}
    functions = {name for text in sources.values() for name in re.findall(r"def (test_\w+)", text)}
    # The example of a name in CONTRIBUTING.md is one that exists, or this fails as well.
    assert set(re.findall(r"\btest_[a-z0-9_]+", document.read_text())) <= files | functions


def test_the_parity_page_has_every_row_with_its_tests() -> None:
    page = ROOT / "docs/parity.md"
    left_out = {19, *range(41, 46)}
    table = list(rows(section(page, "What they do"), "row"))
    assert [int(row) for row, *_ in table] == [row for row in range(1, 52) if row not in left_out]
    wrong = list(rows(section(page, "What they got wrong"), "what went wrong"))
    assert len(wrong) >= 22
    texts = [path.read_text() for path in ROOT.glob("tests/**/*.py")]
    named = {
        row
        for text in texts
        for found in re.findall(r'"""Parity rows? ([\d, ]+)', text)
        for row in found.split(", ")
    }
    assert {row for row, *_ in table} - named == set()
    assert all("`test_" in cells[2] for cells in table)
    assert all("`test_" in tests for _, tests in wrong)


def docstrings(path: Path) -> str:
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.walk(ast.parse(path.read_text()))
    return "\n".join(ast.get_docstring(node) or "" for node in tree if isinstance(node, nodes))


def test_every_section_of_the_format_that_a_docstring_names_exists() -> None:
    known = [heading.strip("`") for heading in headings(FORMAT)]
    named = [
        (str(path.relative_to(ROOT)), name)
        for path in sorted(ROOT.glob("backup/**/*.py"))
        for name in re.findall(r'`docs/format\.md`,\s+"([^"]+)"', docstrings(path))
    ]
    assert len(named) > 3
    assert [(path, name) for path, name in named if name not in known] == []


@documents
def test_no_document_names_a_place_of_the_machine_that_it_was_written_on(document: Path) -> None:
    text = document.read_text()
    assert str(ROOT) not in text
    for path in re.findall(r"(?<![\w./~…>)}-])/[a-z][\w.-]*(?:/[\w.-]+)*", text):
        assert path.startswith(PLACES), path


# ---- the design ----------------------------------------------------------------------------------


def layers_of_the_design() -> set[str]:
    """As `tests/test_layers.py` names them, from the first block of "Layers"."""
    block = re.search(r"```\n(.*?)```", section(DESIGN, "Layers"), re.DOTALL)
    assert block is not None
    found = set()
    for indent, name in re.findall(r"^( *)(\w+)/", block[1], re.MULTILINE):
        found.add(f"backup.{name}" if indent else name)
    return found


def test_the_layers_of_the_design_are_those_of_the_code() -> None:
    assert layers_of_the_design() == set(ALLOWED)
    directories = {f"backup.{path.parent.name}" for path in ROOT.glob("backup/*/__init__.py")}
    assert directories <= layers_of_the_design()


def test_a_layer_lies_above_all_that_it_imports() -> None:
    block = section(DESIGN, "Layers")
    order = re.findall(r"^ +(\w+)/", block, re.MULTILINE)
    for layer, below in ALLOWED.items():
        own = layer.removeprefix("backup.")
        for other in below & {f"backup.{name}" for name in order}:
            if own in order:
                assert order.index(own) < order.index(other.removeprefix("backup.")), f"{layer} uses {other}"


def test_every_library_of_the_design_is_used_and_every_one_used_is_there() -> None:
    listed = {name for cells in rows(section(DESIGN, "Libraries"), "for") for name in cells[1].split(", ")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["parity"]]
    required = {re.split(r"[^\w-]", requirement)[0] for requirement in requirements}
    assert listed == required
    assert set(PACKAGES) <= listed


def test_every_decision_is_listed_and_has_its_parts() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    listed = (ROOT / "docs/decisions/README.md").read_text()
    for page in pages:
        title = headings(page)[0].partition(". ")[2]
        assert f"[{title}]({page.name})" in listed
        assert {"Context", "Decision", "Why", "Consequences"} <= set(headings(page))


# ---- the transcript ------------------------------------------------------------------------------


def normal(text: str) -> str:
    """Without what differs from run to run."""
    text = re.sub(r"\b[0-9a-f]{12}\b", "ID", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)
    text = re.sub(r"\d+\.\d s\b", "SECONDS", text)
    return re.sub(r"\d+(\.\d)? [KM]?i?B (new with metadata|on disk)", "SIZE", text)


@pytest.mark.skipif(not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="this user cannot mount")
@pytest.mark.parametrize("document", [README, PHOTOS], ids=["readme", "photos"])
def test_a_document_shows_what_its_commands_print(document: Path, real_disk: Path, mark: str) -> None:
    """Parity rows 10, 11, 24: photos are approved, moved without reading, changed silently and put back."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/transcript", document.relative_to(ROOT)],
        env=os.environ | {"TMPDIR": str(real_disk), MARK: mark},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    shown = re.findall(r"<!-- made by scripts/transcript -->\n(.*?)<!-- end", document.read_text(), re.DOTALL)
    assert shown
    assert normal("".join(shown)) == normal(done.stdout), "`scripts/transcript --write` brings it up to date"
