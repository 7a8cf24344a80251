"""The values of a profile's keys, each of its kind."""

import difflib
import os
import string
from collections.abc import Mapping

from backup.cli.profiles.naming import expand_name
from backup.cli.profiles.profile import Command, History
from backup.model.duration import Duration, parse_duration
from backup.model.errors import UsageError


class NotThat(Exception):
    """A value that cannot be. `value` is the wrong one of several."""

    def __init__(self, text: str, value: object = None) -> None:
        super().__init__(text)
        self.value = value


def read_text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise NotThat(f'give one text, such as "…", and not {_called(value)}')
    text = str(value)
    if "\0" in text:
        raise NotThat("a NUL character cannot be in it", value)
    return text


def read_texts(value: object) -> list[str]:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return [read_text(each) for each in value]
    if isinstance(value, str):
        return [read_text(value)]
    raise NotThat(f'give texts, such as ["…", "…"], and not {_called(value)}')


def read_flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise NotThat(f"give true or false, and not {_called(value)}")


def read_history(value: object) -> History:
    if value == "all" or value == "latest":
        return value
    raise NotThat(f'give "all" or "latest", and not {_called(value)}')


def read_seconds(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9:
        return value
    raise NotThat(f"give a number of seconds above 0, and not {_called(value)}")


def read_duration(value: object) -> Duration:
    try:
        return parse_duration(read_text(value))
    except UsageError as error:
        raise NotThat(str(error)) from None


def read_commands(value: object) -> list[Command]:
    """One command, as an array of its words; or an array of such."""
    several = isinstance(value, list) and bool(value) and isinstance(value[0], list)
    found = []
    for command in value if several else [value]:  # type: ignore[attr-defined]
        if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
            raise NotThat('give a command as its words, such as ["notify-send", "done"]: no shell reads it')
        if not command or not command[0] or any("\0" in word for word in command):
            raise NotThat("a command needs a name, and no word of it can have a NUL character")
        found.append(tuple(command))
    return found


def read_place(text: str, names: Mapping[str, str]) -> str:
    """A path with `~`, `$VAR` and `${VAR}` replaced, and a name at its beginning; `$$` is a `$`."""
    try:
        found = os.path.expanduser(string.Template(text).substitute(os.environ))
    except KeyError as error:
        raise NotThat(f"{text!r}: the environment has no variable {error.args[0]}", text) from None
    except ValueError:
        raise NotThat(f"{text!r} has a lone $: write $$ for the character itself", text) from None
    if (place := expand_name(found, names)) is not None:
        return place
    name, colon, _ = found.partition(":")
    if colon and not os.path.isabs(found) and "/" not in name:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "a path begins with / or ~/, a name is in [names]"
        raise NotThat(f"{text!r}: [names] has no {name!r}: {hint}", text)
    if not os.path.isabs(found):
        raise NotThat(f"{text!r} is no absolute path: begin it with / or ~/", text)
    return found


def _called(value: object) -> str:
    names = {bool: "true or false", dict: "a table", list: "an array", str: "a text"}
    return names.get(type(value), str(value))
