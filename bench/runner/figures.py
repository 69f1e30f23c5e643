"""Arithmetic and layout: medians, ratios of neighbours, tables."""

import statistics
import sys


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def ratio(runs, other):
    """Runs are {repetition: figure}. Neighbours in time are compared with each other, then the
    median is taken; None when there are none."""
    pairs = [runs[r] / other[r] for r in runs if r in other and other[r]]
    return statistics.median(pairs) if pairs else None


def middle(runs):
    return statistics.median(runs.values())


def spread(runs, digits=3):
    if not runs:
        return "-"
    values = list(runs.values())
    text = f"{statistics.median(values):.{digits}f}"
    if len(values) > 1:
        text += f" ({min(values):.{digits}f}–{max(values):.{digits}f})"
    return text


def mean(ratios):
    return statistics.geometric_mean(ratios) if ratios else None


def times(value, goal=None):
    """A ratio as the tables show it; ! beside one that misses its goal."""
    if value is None:
        return "-"
    return f"{value:.2f}" + ("!" if goal is not None and round(value, 2) > goal else "")


def table(head, rows, left=1):
    """The first `left` columns are set to the left, the others to the right."""
    lines = [[str(cell) for cell in line] for line in [head] + rows]
    width = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for line in lines:
        cells = [
            cell.ljust(width[i]) if i < left else cell.rjust(width[i])
            for i, cell in enumerate(line)
        ]
        print("  ".join(cells).rstrip())
