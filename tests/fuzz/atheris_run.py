"""One target under atheris, for `scripts/fuzz`: TARGET, then libFuzzer's arguments."""

import logging
import sys

import atheris

from backup.model.errors import ImbfsError

with atheris.instrument_imports(include=["backup", "fusefs"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    logging.disable()
    target = TARGETS[sys.argv.pop(1)]

    def one(data: bytes) -> None:
        try:
            target(data)
        except ImbfsError:
            return

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
