"""How long it will take, from how long it has taken: decided without a clock or a terminal."""

#: What a name is taken to cost until it is known better, in bytes that take as long.
BYTES_PER_NAME = 64 << 10
#: What a stretch of work still weighs when the next one is noted: the disk may be busier now.
FADING = 0.98
#: Weight of what all work took together, against what names and bytes seem to take each.
CAUTION = 0.005


class Estimate:
    """How much there is to do: names and bytes; unknown until `done`."""

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self.done = False

    def set(self, files: int, size: int) -> None:
        self.files, self.bytes, self.done = files, size, True


class Speed:
    """What a name takes, and what a byte takes: measured apart, so that the time left holds where small
    files come first and large ones last.

    The least squares of `seconds = names * a + bytes * b` over the stretches of work so far. Where those
    are all of one mixture, which cannot tell the two apart, both keep the ratio of `BYTES_PER_NAME`.
    """

    def __init__(self) -> None:
        self._seen = (0, 0, 0.0)
        self._nn = self._nb = self._bb = self._nt = self._bt = 0.0
        self._work = self._seconds = 0.0

    def note(self, files: int, size: int, seconds: float) -> None:
        """So much is done after so many seconds, all counted from the beginning."""
        names = float(files - self._seen[0])
        units = (size - self._seen[1]) / BYTES_PER_NAME
        took = seconds - self._seen[2]
        self._seen = (files, size, seconds)
        self._nn = self._nn * FADING + names * names
        self._nb = self._nb * FADING + names * units
        self._bb = self._bb * FADING + units * units
        self._nt = self._nt * FADING + names * took
        self._bt = self._bt * FADING + units * took
        self._work = self._work * FADING + names + units
        self._seconds = self._seconds * FADING + took

    def seconds(self, files: int, size: int) -> float | None:
        """What so many names and bytes will take; None while nothing is done."""
        if self._work <= 0:
            return None
        usual = self._seconds / self._work
        least = 1e-9 * (self._nn + self._bb)
        names, units = CAUTION * self._nn + least, CAUTION * self._bb + least
        nn, bb = self._nn + names, self._bb + units
        nt, bt = self._nt + names * usual, self._bt + units * usual
        determinant = nn * bb - self._nb * self._nb
        name = (nt * bb - bt * self._nb) / determinant
        unit = (bt * nn - nt * self._nb) / determinant
        return max(0, files) * max(0.0, name) + max(0, size) / BYTES_PER_NAME * max(0.0, unit)


def share(files: int, size: int, estimate: Estimate) -> float:
    """How much of all is done, from 0 to 1; 0 while that is unknown."""
    whole = estimate.files * BYTES_PER_NAME + estimate.bytes
    return min(1.0, (files * BYTES_PER_NAME + size) / whole) if estimate.done and whole else 0.0


def duration(seconds: float) -> str:
    """As people read it: 0:07, 12:30, 1:02:03, 3 d 4 h."""
    whole = round(seconds)
    if whole >= 24 * 3600:
        return f"{whole // 86400} d {whole % 86400 // 3600} h"
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
