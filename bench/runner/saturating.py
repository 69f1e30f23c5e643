"""Fan-out, pairs and topics: the saturating generator against all servers, in turns."""

import contextlib
import json
import os
import subprocess

from runner import Trouble, figures
from runner.servers import Running, end

FAULTS = ("lost", "doubled", "reordered", "damaged", "disordered_subscribers")
FAULTS += ("misnumbered", "stalled")
PATIENCE_SECONDS = 120


class Group:
    """Connections of one kind, and the cells measured over them.

    peer_cells: those that peers take part in; peer_turns: in how many of the repetitions.
    starts: how often all servers are started anew meanwhile, where one start differs from the next.
    """

    def __init__(self, part, mode, sizes, cells, peer_cells, peer_turns, starts=1):
        self.part = part  # fanout, pairs, topics
        self.mode = mode  # as the generator calls it
        self.sizes = sizes  # {option: number}
        self.cells = cells  # [(payload, in flight)]
        self.peer_cells = peer_cells
        self.peer_turns = peer_turns
        self.starts = starts

    def batch(self, inflight):
        """Deliveries that are in flight at once."""
        if self.mode == "fanout":
            return self.sizes["subscribers"] * inflight
        return self.sizes.get("pairs", 20) * inflight

    def takes(self, server, cell, most_seconds):
        if not server.is_peer:
            return True
        if self.mode == "topics" and not server.many_topics:
            return False
        return cell in self.peer_cells and self.batch(cell[1]) * server.cost < most_seconds * 1e6

    def label(self):
        return ", ".join(f"{n:,} {option}" for option, n in self.sizes.items())


class Generator:
    """The saturate program, connected to one server and measuring a cell when told to."""

    def __init__(self, stack, build, running, group, dialect, more=()):
        command = [os.path.join(build, "bench", "saturate"), group.mode]
        command += running.arguments() + [f"--dialect={dialect}", "--commands", *more]
        command += [f"--{option}={n}" for option, n in group.sizes.items()]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        stack.callback(end, self.process)
        self.server = running.server
        self.name = self.server.name
        self.runs = {}  # {cell: {repetition: figures}}
        self.gone = False

    def ready(self):
        """Whether it could connect."""
        self.gone = self.process.stdout.readline() != "ready\n"
        return not self.gone

    def measure(self, cell, warmup, seconds):
        """One cell's figures, or None when the generator has ended."""
        try:
            self.process.stdin.write(f"{cell[0]} {cell[1]} {warmup} {seconds}\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        self.gone = not line
        return json.loads(line) if line else None

    def costs(self, cell, softirq=False):
        return costs(self.runs.get(cell, {}), softirq)

    def finish(self):
        """Its exit code."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        return self.process.wait(PATIENCE_SECONDS)


def in_turn(group, repetition, repetitions):
    """Whether peers take part: peer_turns of the repetitions, spread over them."""
    turns = min(group.peer_turns, repetitions)
    return repetition * turns // repetitions != (repetition - 1) * turns // repetitions


def measure(options, servers, group, report):
    """Returns the group's generators with all their runs; faults go to the report."""
    servers = [
        s for s in servers if any(group.takes(s, c, options.most_seconds) for c in group.cells)
    ]
    found = []
    starts = min(group.starts, options.repetitions)
    for start in range(starts):
        first = options.repetitions * start // starts
        last = options.repetitions * (start + 1) // starts
        for generator in measure_once(options, servers, group, range(first, last), report):
            before = by_name(found, generator.name)
            if not before:
                found.append(generator)
                continue
            for cell, runs in generator.runs.items():
                before.runs.setdefault(cell, {}).update(runs)
    figures.progress("")
    return found


def measure_once(options, servers, group, repetitions, report):
    """With one start of each server."""

    def takes_part(server, repetition):
        return not server.is_peer or in_turn(group, repetition, options.repetitions)

    servers = [s for s in servers if any(takes_part(s, r) for r in repetitions)]
    with contextlib.ExitStack() as stack:
        generators = []
        for server in servers:
            figures.progress(f"{group.part}: connecting to {server.name}: {group.label()}")
            try:
                running = Running(stack, server)
                generators.append(
                    Generator(stack, options.build, running, group, server.dialect)
                )
            except Trouble as trouble:
                report.fault(server, str(trouble))
                continue
            if not generators[-1].ready():
                report.fault(server, f"the generator could not connect ({group.label()})")
        for repetition in repetitions:
            for cell in group.cells:
                for generator in generators[:: -1 if repetition % 2 else 1]:
                    server = generator.server
                    if (
                        not generator.gone
                        and takes_part(server, repetition)
                        and group.takes(server, cell, options.most_seconds)
                    ):
                        take(options, group, generator, cell, repetition, report)
            figures.progress(
                f"{group.part}: {group.label()}: {repetition + 1}/{options.repetitions}"
            )
        for generator in generators:
            if generator.finish() and not generator.gone:
                report.fault(generator.server, f"the generator failed ({group.label()})")
    return generators


def take(options, group, generator, cell, repetition, report):
    run = generator.measure(cell, options.warmup, options.seconds)
    where = f"{group.part}, {group.label()}, {cell[0]} B, {cell[1]} in flight"
    if not run:
        report.fault(generator.server, f"{where}: the generator failed")
    elif any(run[f] for f in FAULTS):
        faults = ", ".join(f"{f} {run[f]}" for f in FAULTS if run[f])
        report.fault(generator.server, f"{where}: {faults}")
    else:
        generator.runs.setdefault(cell, {})[repetition] = run


def costs(runs, softirq=False):
    """By repetition; with the kernel's softirq threads, or the server's processes alone."""
    return {
        repetition: run["cpu_us_per_delivery"] + softirq * run["ksoftirqd_us_per_delivery"]
        for repetition, run in runs.items()
    }


def by_name(generators, name):
    return next((g for g in generators if g.name == name), None)


class Part:
    """All groups of one part, as one table and as JSON."""

    def __init__(self, options, servers, groups, report, goal):
        self.groups = groups
        self.goal = goal
        self.floor = servers[0].name
        self.measured = [(group, measure(options, servers, group, report)) for group in groups]

    def depths(self):
        return sorted({cell[1] for group in self.groups for cell in group.cells})

    def ratios(self, name, to, softirq=False):
        """Over all cells."""
        found = []
        for group, generators in self.measured:
            one, other = by_name(generators, name), by_name(generators, to)
            for cell in group.cells if one and other else []:
                ratio = figures.ratio(one.costs(cell, softirq), other.costs(cell, softirq))
                found += [ratio] if ratio else []
        return found

    def over_all(self, softirq):
        names = dict.fromkeys(g.name for _, generators in self.measured for g in generators)
        means = {n: figures.mean(self.ratios(n, self.floor, softirq)) for n in names}
        return "; ".join(f"{n} ×{m:.2f}" for n, m in means.items() if m and n != self.floor)

    def show(self, title, notes):
        print(f"\n{title}\n")
        rows = []
        for group, generators in self.measured:
            floor = by_name(generators, self.floor)
            for payload in dict.fromkeys(cell[0] for cell in group.cells):
                for generator in generators:
                    row = self.row(group, payload, generator, floor)
                    if any(cell not in ("", "-") for cell in row[3:]):
                        rows.append(row)
        head = ["server", "of", "bytes"]
        for depth in self.depths():
            head += [f"{depth} in flight, µs", "×"]
        figures.table(head, rows, left=2)
        print(f"\nto {self.floor}, over all cells: {self.over_all(False)}")
        print(f"the same with the time of ksoftirqd: {self.over_all(True)}")
        for note in notes:
            print(note)

    def row(self, group, payload, generator, floor):
        row = [generator.name, group.label(), payload]
        goal = None if generator.server.is_peer else self.goal
        for depth in self.depths():
            cell = (payload, depth)
            if cell not in group.cells:
                row += ["", ""]
                continue
            runs = generator.costs(cell)
            is_floor = generator is floor or not floor
            against = None if is_floor else figures.ratio(runs, floor.costs(cell))
            row += [figures.spread(runs), "" if is_floor else figures.times(against, goal)]
        return row

    def json(self):
        return [
            group.sizes
            | {"payload": cell[0], "inflight": cell[1], "server": generator.name}
            | {"runs": list(generator.runs[cell].values())}
            for group, generators in self.measured
            for generator in generators
            for cell in group.cells
            if cell in generator.runs
        ]
