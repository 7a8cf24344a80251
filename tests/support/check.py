"""Assertions about one run of the command."""

from tests.support.imbfs import Result

DONE, FAILED, WRONG_USE, IN_PART, NO_REPOSITORY, BUSY, DAMAGED, INTERRUPTED = 0, 1, 2, 3, 10, 11, 12, 130


def assert_clear_error(result: Result, code: int, *mentions: str) -> None:
    """It ended with `code`, and says why in one line that mentions all of `mentions`."""
    assert result.code == code, result
    assert result.stdout == b"", result
    assert_no_traceback(result)
    errors = result.errors.splitlines()
    if code == WRONG_USE:
        assert any("imbfs" in line for line in errors), result
    else:
        assert len(errors) == 1, result
        assert errors[0].startswith("imbfs: "), result
    for mention in mentions:
        assert mention in result.errors, result


def assert_no_traceback(result: Result) -> None:
    assert "Traceback" not in result.errors, result
