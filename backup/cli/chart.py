"""A curve in the terminal, drawn with blocks of an eighth of a line."""

from bisect import bisect_right
from collections.abc import Callable, Sequence

_EIGHTHS = " ▁▂▃▄▅▆▇█"


def area_chart(
    points: Sequence[tuple[float, float]], width: int, height: int, label: Callable[[float], str]
) -> list[str]:
    """The lines of a chart of steps, the value of each point holding until the next.

    `points` are in order of their first number, and not all at one place; `width` is that of the curve,
    in columns. The values of the highest line and of the lowest are labelled.
    """
    places = [place for place, _ in points]
    top = max(value for _, value in points) or 1.0
    begin, span = places[0], places[-1] - places[0]
    columns = []
    for column in range(width):
        last = bisect_right(places, begin + span * (column + 1) / width) - 1
        columns.append(round(points[last][1] / top * height * 8))
    labels = [label(top), *[""] * (height - 2), label(0.0)]
    margin = max(map(len, labels))
    return [
        f"{labels[line]:>{margin}} │" + "".join(_cell(eighths, height - 1 - line) for eighths in columns)
        for line in range(height)
    ]


def _cell(eighths: int, line: int) -> str:
    return _EIGHTHS[max(0, min(8, eighths - 8 * line))]
