"""What level 2 costs: beside level 1, with histories, with patterns, and when all come back."""

import contextlib
import json
import os
import subprocess

from runner import Trouble, comparing, figures, servers, tool
from runner.comparing import Arm
from runner.saturating import Group
from runner.servers import Running, end, started

LEVEL2_GOAL = 1.05
HISTORY_GOAL = 1.10

# What level 2 puts around the data of a delivery, at topics as long as here and offsets of 5 digits.
ENVELOPE = len('{"type":"message","topic":"bench-00000","data":,"offset":12345}')
KEEPS_ALL = [{"match": ">", "history": 1000}]


def level2(options, report):
    """Levels 1 and 2 on the same servers."""
    payloads = options.payloads or ((64, 256, 1024) if options.full else (64, 1024))
    fanout = [(p, d) for p in payloads for d in options.depths or (1, 32, 128)]
    depths = options.depths or ((1, 8, 32) if options.full else (8,))
    pairs = [(p, d) for p in options.payloads or (64, 1024) for d in depths]
    starts = 3 if options.full else 1
    groups = [
        Group("level2", "fanout", {"subscribers": 1000}, fanout, [], 0, starts),
        Group("level2", "pairs", {"pairs": 100}, pairs, [], 0, starts),
    ]
    found = []
    for workers in options.workers if options.full else options.workers[:1]:
        server = servers.hermes(options.build, workers)
        arms = [
            Arm("level 1", server, "lev1--"),
            Arm("level 1, as long", server, "long--", more=ENVELOPE),
            Arm("level 2", server, "lev2--", "level2", to="level 1, as long", goal=LEVEL2_GOAL),
        ]
        compared = comparing.Comparison(options, arms, groups, report)
        compared.show(
            f"Level 2, {server.name}: server CPU per delivery: median (min–max);\n×: to level 1 on"
            " the same server with payloads as long as level 2's frames"
        )
        for mode in ("fanout", "pairs"):
            ratios = compared.ratios("level 2", "level 1", mode)
            if ratios:
                print(f"{mode}: level 2 to level 1 with the same data: ×{figures.mean(ratios):.2f}")
        found.append({"workers": workers, "cells": compared.json()})
    return found


def history(options, report):
    """One topic, and topics of their own, with a history of 100 messages and without."""
    cells = [(p, d) for p in options.payloads or (64, 1024) for d in options.depths or (1, 32)]
    starts = 5 if options.full else 2  # of pairs one start differs from the next by up to 40 %
    groups = [
        Group("history", "pairs", {"pairs": 100}, cells, [], 0, starts),
        Group("history", "fanout", {"subscribers": 1000}, cells, [], 0, 1),
    ]
    plain = servers.hermes(options.build, 1)
    ruled = servers.hermes(
        options.build, 1, "hermes, rules", [{"match": "hist:>", "history": 100}]
    )
    arms = [
        Arm("without", plain, "hist:"),
        Arm("the same server without", ruled, "none:"),
        Arm("history of 100", ruled, "hist:", to="the same server without", goal=HISTORY_GOAL),
    ]
    compared = comparing.Comparison(options, arms, groups, report)
    compared.show("Histories of 100 messages, 1 worker: server CPU per delivery: median (min–max)")
    for mode in ("pairs", "fanout"):
        ratios = compared.ratios("history of 100", "without", mode)
        if ratios:
            print(f"{mode}: history of 100 to a server without rules: ×{figures.mean(ratios):.2f}")
    return compared.json()


class PatternLoad:
    """bench/patterns, connected to a server of its own, measuring a cell when told to."""

    def __init__(self, stack, options, arm):
        self.arm = arm
        self.runs = {}
        running = Running(stack, servers.hermes(options.build, 1))
        command = [os.path.join(options.build, "bench", "patterns")] + running.arguments()
        command += [f"--patterns={arm[1]}", f"--matching={arm[2]}", *["--named"] * arm[3]]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        stack.callback(end, self.process)
        if self.process.stdout.readline() != "ready\n":
            raise Trouble(f"{arm[0]}: could not connect")

    def measure(self, topics, repetition, seconds):
        self.process.stdin.write(f"{topics} 32 {seconds / 4} {seconds}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Trouble(f"{self.arm[0]}, {topics} topics: the generator failed")
        self.runs.setdefault(topics, {})[repetition] = json.loads(line)

    def costs(self, topics):
        return {r: run["cpu_us_per_message"] for r, run in self.runs[topics].items()}

    def memory(self):
        return max(run["rss"] for runs in self.runs.values() for run in runs.values()) / 2**20


def patterns(options, report):
    """One publisher, 32 messages by one write; a publish with its deliveries, one for each match.

    Topics are unknown to the server, or each has a subscriber by name, too.
    """
    all_arms = []
    for named in (False, True) if options.full else (False,):
        where = "subscribed topics: " if named else ""
        for matching in (0, 1, 10):
            what = f"{where}{matching or 'no patterns'}{' that match' * (matching > 0)}"
            more = f"{what}, 100,000 do not" if matching else f"{where}100,000, none matches"
            all_arms += [(what, 0, matching, named, None), (more, 100000, matching, named, what)]
    seconds = 1 if options.full else 0.2
    rows, found = [], []
    for named in dict.fromkeys(arm[3] for arm in all_arms):
        arms = [arm for arm in all_arms if arm[3] == named]
        with contextlib.ExitStack() as stack:
            loads = []
            try:
                for arm in arms:
                    figures.progress(f"patterns: connecting: {arm[0]}")
                    loads.append(PatternLoad(stack, options, arm))
                for repetition in range(options.repetitions):
                    for topics in (1, 1000000):
                        for load in loads[:: -1 if repetition % 2 else 1]:
                            load.measure(topics, repetition, seconds)
                    figures.progress(f"patterns: {repetition + 1}/{options.repetitions}")
            except Trouble as trouble:
                report.fault(servers.hermes(options.build, 1), str(trouble))
                return found
        by_name = {load.arm[0]: load for load in loads}
        for load in loads:
            row = [load.arm[0]]
            for topics in (1, 1000000):
                ratio = ""
                if load.arm[4]:
                    other = by_name[load.arm[4]]
                    ratio = figures.times(figures.ratio(load.costs(topics), other.costs(topics)))
                row += [figures.spread(load.costs(topics)), ratio]
            rows.append(row + [f"{load.memory():.0f}"])
            found += [run for runs in load.runs.values() for run in runs.values()]
    figures.progress("")
    print(
        "\nPatterns: server CPU per publish with its deliveries: median (min–max);"
        "\n×: to as many matches without the 100,000 others\n"
    )
    figures.table(["", "one topic, µs", "×", "1,000,000 topics, µs", "×", "memory, MiB"], rows)
    return found


def recovery(options, report):
    """All subscribers of a topic are cut, miss 100 messages, and return at once for them."""
    subscribers = 10000 if options.full else 2000
    rounds = 5 if options.full else 2
    scenario = tool.Scenario(
        "recovery",
        ["storm", "--recover", f"--subscribers={subscribers}", f"--rounds={rounds}", "--missed=100"]
        + ["--rate=500", "--warmup=0.1", "--seconds=0.05", "--patience=20"]
        + ["--source=127.0.0.2,127.0.0.3,127.0.0.4,127.0.0.5"],
        lambda told: told["recovery"]["cpu_per_message"],
    )
    rows, found = [], []
    for workers in options.workers if options.full else options.workers[:1]:
        server = servers.hermes(options.build, workers, rules=KEEPS_ALL)
        figures.progress(f"recovery: {server.name}")
        with contextlib.ExitStack() as stack:
            running = started(stack, [server], report)
            told = tool.run(options, scenario, running[0], report) if running else None
        if not told:
            continue
        found.append({"server": server.name, "run": tool.strip(told)})
        served, cost = told["served"], told["recovery"]
        row = [server.name] + [f"{served[k] / 1000:.0f}" for k in ("p50", "p99", "max")]
        row.append(figures.spread(dict(enumerate(told["rounds"])), 2))
        row.append(f"{cost['cpu_per_message']:.2f}")
        rows.append(row + [f"{cost['rss_' + k] / 2**20:.1f}" for k in ("before", "peak", "after")])
    figures.progress("")
    print(
        f"\nRecovery: {subscribers:,} subscribers return at once, each for 100 messages of 256 bytes"
        " that it missed,\nall of which came once and in order; from the return of all\n"
    )
    figures.table(
        ["server", "p50, ms", "p99, ms", "max, ms", "all, s", "CPU per message, µs"]
        + ["memory before, MiB", "peak", "after"],
        rows,
    )
    return found


PARTS = {"level2": level2, "history": history, "patterns": patterns, "recovery": recovery}
