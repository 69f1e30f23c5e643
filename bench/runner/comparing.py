"""Level 2 and histories: arms that differ in one thing, in turns, often on one and the same server."""

import contextlib

from runner import Trouble, figures
from runner.saturating import Generator, costs, take
from runner.servers import Running


class Arm:
    """One side of a comparison: a generator, and what it does otherwise than the others.

    to: the arm it is compared with, and the goal for the ratio. more: bytes that its payloads are
    longer by; options: its generator's own. Arms with the same server share its process; their
    prefixes keep them apart.
    """

    def __init__(
        self, name, server, prefix, dialect="level1", more=0, to=None, goal=None, options=()
    ):
        self.name = name
        self.server = server
        self.prefix = prefix
        self.dialect = dialect
        self.more = more
        self.to = to
        self.goal = goal
        self.options = options


class Side(Generator):
    """An arm's generator. Cells are named alike for all arms, however long their payloads are."""

    def __init__(self, stack, build, running, group, arm):
        more = [f"--prefix={arm.prefix}", *arm.options]
        super().__init__(stack, build, running, group, arm.dialect, more)
        self.arm = arm
        self.name = arm.name

    def measure(self, cell, warmup, seconds):
        return super().measure((cell[0] + self.arm.more, cell[1]), warmup, seconds)


class Comparison:
    """The arms over groups of cells, as one table and as JSON."""

    def __init__(self, options, arms, groups, report):
        self.arms = arms
        self.measured = [(group, self.measure(options, group, report)) for group in groups]
        figures.progress("")

    def measure(self, options, group, report):
        """{arm: {cell: {repetition: run}}}, over several starts of the servers."""
        found = {arm.name: {} for arm in self.arms}
        starts = min(group.starts, options.repetitions)
        for start in range(starts):
            first = options.repetitions * start // starts
            last = options.repetitions * (start + 1) // starts
            for side in self.measure_once(options, group, range(first, last), report):
                for cell, runs in side.runs.items():
                    found[side.name].setdefault(cell, {}).update(runs)
        return found

    def measure_once(self, options, group, repetitions, report):
        with contextlib.ExitStack() as stack:
            running, sides = {}, []
            for arm in self.arms:
                try:
                    if arm.server not in running:
                        running[arm.server] = Running(stack, arm.server)
                    sides.append(Side(stack, options.build, running[arm.server], group, arm))
                except Trouble as trouble:
                    report.fault(arm.server, str(trouble))
                    continue
                if not sides[-1].ready():
                    report.fault(arm.server, f"the generator could not connect ({group.label()})")
            for repetition in repetitions:
                for cell in group.cells:
                    for side in sides[:: -1 if repetition % 2 else 1]:
                        if not side.gone:
                            take(options, group, side, cell, repetition, report)
                figures.progress(
                    f"{group.part}: {group.label()}: {repetition + 1}/{options.repetitions}"
                )
            for side in sides:
                if side.finish() and not side.gone:
                    report.fault(side.server, f"the generator failed ({group.label()})")
        return sides

    def ratio(self, found, name, to, cell):
        one, other = (found[n].get(cell, {}) for n in (name, to))
        return figures.ratio(costs(one), costs(other))

    def ratios(self, name, to, part=None):
        """Over all cells."""
        all_of = [
            self.ratio(found, name, to, cell)
            for group, found in self.measured
            for cell in group.cells
            if part in (None, group.mode)
        ]
        return [ratio for ratio in all_of if ratio]

    def depths(self):
        return sorted({cell[1] for group, _ in self.measured for cell in group.cells})

    def show(self, title):
        print(f"\n{title}\n")
        rows = []
        for group, found in self.measured:
            for payload in dict.fromkeys(cell[0] for cell in group.cells):
                rows += [self.row(group, found, payload, arm) for arm in self.arms]
        head = ["", "of", "bytes"]
        for depth in self.depths():
            head += [f"{depth} in flight, µs", "×"]
        figures.table(head, rows, left=2)
        print()
        for arm in self.arms:
            for mode in dict.fromkeys(group.mode for group, _ in self.measured):
                ratios = self.ratios(arm.name, arm.to, mode) if arm.to else []
                if ratios:
                    mean = figures.times(figures.mean(ratios), arm.goal)
                    goal = f" (goal: at most {arm.goal})" if arm.goal else ""
                    print(f"{mode}: {arm.name} to {arm.to}: ×{mean} over all cells{goal}")

    def row(self, group, found, payload, arm):
        row = [arm.name, group.label(), payload + arm.more]
        for depth in self.depths():
            cell = (payload, depth)
            if cell not in group.cells:
                row += ["", ""]
                continue
            ratio = self.ratio(found, arm.name, arm.to, cell) if arm.to else None
            mark = figures.times(ratio, arm.goal) if arm.to else ""
            row += [figures.spread(costs(found[arm.name].get(cell, {}))), mark]
        return row

    def json(self):
        return [
            group.sizes
            | {"mode": group.mode, "payload": cell[0], "inflight": cell[1], "arm": arm.name}
            | {"runs": list(found[arm.name][cell].values())}
            for group, found in self.measured
            for arm in self.arms
            for cell in group.cells
            if cell in found[arm.name]
        ]
