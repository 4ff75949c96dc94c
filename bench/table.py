"""The bench's table: subject, figure, ratio to a yardstick of the same run, and target."""

from collections.abc import Sequence

import msgspec


class Row(msgspec.Struct, frozen=True):
    """One line. `figure` has its unit; `ratio` and `target` are empty where there is none; `bound` says what limits a
    figure that misses its target.
    """

    subject: str
    figure: str
    ratio: str = ""
    target: str = ""
    bound: str = ""


def table(rows: Sequence[Row]) -> str:
    """Return the rows under their names, each column as wide as needed."""
    lines = [Row.__struct_fields__, *(msgspec.structs.astuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(Row.__struct_fields__))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
