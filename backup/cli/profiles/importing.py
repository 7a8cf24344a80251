"""From the configuration of a tool that keeps a mirror and increments to a profile."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from backup.cli.profiles.profile import escaped
from backup.cli.profiles.toml import to_toml
from backup.model.errors import UsageError

_WILD = frozenset("*?[")
#: Marks a pattern that holds in all directories.
_EVERYWHERE = ":rec"
_INCLUDED = ("include_dirs", "track_dirs", "include_files", "track_files")
_EXCLUDED = ("exclude_dirs", "exclude_files", "exclude")
_LISTS = (*_INCLUDED, *_EXCLUDED)


class Imported(NamedTuple):
    """A profile as TOML has it, and what of the configuration has no place in it."""

    profile: dict[str, Any]
    left: list[str]


def imported(file: Path) -> tuple[str, list[str]]:
    """The text of a profile made of a file, and what has no place in it. Raises `UsageError`, OSError.

    The file is a profile, in TOML or JSON, or the JSON of a tool that keeps a mirror and increments.
    """
    try:
        text = file.read_bytes().decode()
        if file.suffix == ".toml":
            return text, []
        known = json.loads(text)
        if not isinstance(known, dict):
            raise ValueError("it is no JSON object")
        if "src" not in known:
            return to_toml(known), []
        found = from_mirror(known)
        return to_toml(found.profile), found.left
    except (ValueError, UsageError) as error:
        raise UsageError(f"{file} cannot be made a profile: {error}") from None


def from_mirror(known: dict[str, Any]) -> Imported:
    """`src` is what is backed up to `dist`. Tracked names keep their history, included ones do not.

    Raises `UsageError`.
    """
    return _Import(known).run()


class _Import:
    def __init__(self, known: dict[str, Any]) -> None:
        self._known = known
        self._left: list[str] = []
        self._source = self._directory("src")
        for key in _LISTS:
            value = known.get(key, [])
            if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
                raise UsageError(f"{key} is not an array of texts")

    def run(self) -> Imported:
        tracked, included = self._paths("track"), self._paths("include")
        paths = sorted({*tracked, *included})
        if not paths and any(self._known.get(key) for key in _INCLUDED):
            raise UsageError("nothing of what it includes can be carried over: it is all wildcards")
        backup: dict[str, Any] = {"paths": [path.replace("$", "$$") for path in paths or [self._source]]}
        if excluded := self._excluded():
            backup["exclude"] = excluded
        if isinstance(workers := self._known.get("max_workers"), int) and 0 <= workers <= 256:
            backup["workers"] = workers
        profile: dict[str, Any] = {"backup": backup}
        if "dist" in self._known:
            repository = os.path.join(self._directory("dist"), "imbfs")
            profile = {"repository": repository.replace("$", "$$"), **profile}
        if rules := self._rules(tracked, included):
            profile["rule"] = rules
        for key in sorted(self._known.keys() - {*_LISTS, "src", "dist", "max_workers"}):
            self._left.append(f"{key}: a profile has nothing like it")
        return Imported(profile, self._left)

    def _directory(self, key: str) -> str:
        value = self._known[key]
        if not isinstance(value, str) or not os.path.isabs(os.path.expanduser(value)):
            raise UsageError(f"{key} is not the absolute path of a directory: {value!r}")
        return os.path.normpath(os.path.expanduser(value))

    def _paths(self, kind: str) -> list[str]:
        """Those that are named; wildcards would have to be asked at each backup."""
        found = []
        for key in (f"{kind}_dirs", f"{kind}_files"):
            for text in self._known.get(key, []):
                if _WILD & set(text) or text.endswith(_EVERYWHERE):
                    self._left.append(f"{key}: {text!r} is a wildcard, and a profile names paths")
                else:
                    found.append(os.path.normpath(os.path.join(self._source, text)))
        return found

    def _excluded(self) -> list[str]:
        found = []
        for key in _EXCLUDED:
            for text in self._known.get(key, []):
                slash = "/" if key == "exclude_dirs" else ""
                body = text.removesuffix(_EVERYWHERE).rstrip("/")
                if "/" in body:
                    body = f"{escaped(self._source)}/{body}" if not body.startswith("/") else body
                found.append(body + slash)
        return found

    def _rules(self, tracked: list[str], included: list[str]) -> list[dict[str, Any]]:
        latest = [path for path in included if path not in tracked]
        rules = [{"path": path.replace("$", "$$"), "history": "latest"} for path in sorted(set(latest))]
        inside = [path for path in tracked if any(path.startswith(outer + "/") for outer in latest)]
        return rules + [{"path": path.replace("$", "$$"), "history": "all"} for path in sorted(set(inside))]
