"""Steady latency, churn and connecting: hermes-bench against the servers that speak level 1."""

import contextlib
import json
import os
import subprocess
import tempfile

from runner import figures
from runner.servers import started

SOURCES = "127.0.0.2,127.0.0.3,127.0.0.4,127.0.0.5"
PATIENCE_SECONDS = 120


class Scenario:
    """One run of the tool, and which of its figures counts."""

    def __init__(self, part, arguments, figure, most_cost=1000):
        self.part = part
        self.arguments = arguments
        self.figure = figure  # of the tool's report; µs
        self.most_cost = most_cost  # of servers that can do it at all


def latency(seconds):
    return Scenario(
        "latency",
        ["fanout", "--subscribers=1000", "--rate=100", "--payload=256"]
        + [f"--seconds={seconds}", "--warmup=0.3"],
        lambda report: report["latency"]["p99"],
        most_cost=9,  # 100,000 deliveries a second are more than others can do
    )


def churn(seconds):
    return Scenario(
        "churn",
        ["churn", f"--seconds={seconds}", "--warmup=0.2", f"--source={SOURCES}"],
        lambda report: report["server"]["cpu_per_connect"],
    )


def connect(connections):
    return Scenario(
        "connect",
        ["connect", f"--connections={connections}", "--connect-rate=0", "--seconds=0.1"]
        + [f"--source={SOURCES}"],
        lambda report: report["server"]["cpu_per_connect"],
    )


def faults(file):
    """Those of a report, as text."""
    if not os.path.exists(file):
        return ""
    with open(file, encoding="utf-8") as text:
        found = json.load(text).get("faults", {})
    return ", ".join(f"{name} {count}" for name, count in found.items() if count)


def run(options, scenario, running, report):
    """The tool's report, or None."""
    with tempfile.TemporaryDirectory(prefix="hermes-bench-") as folder:
        file = os.path.join(folder, "report.json")
        command = [os.path.join(options.build, "hermes-bench")] + scenario.arguments
        command += [f"--url=ws://127.0.0.1:{running.port}", f"--pid={running.pids[0]}"]
        command += ["--quiet", f"--json={file}"]
        try:
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=PATIENCE_SECONDS,
            )
        except subprocess.TimeoutExpired:
            report.fault(running.server, f"{scenario.part}: the tool does not end")
            return None
        if done.returncode or not os.path.exists(file):
            said = done.stdout.strip() or faults(file) or f"the tool's exit code {done.returncode}"
            report.fault(running.server, f"{scenario.part}: {said}")
            return None
        with open(file, encoding="utf-8") as text:
            found = json.load(text)
    try:
        scenario.figure(found)
    except (KeyError, TypeError):
        report.fault(running.server, f"{scenario.part}: the tool's report has no figure")
        return None
    return found


class Part:
    """One scenario against all servers in turns."""

    def __init__(self, options, servers, scenario, turns, peer_turns, report):
        self.scenario = scenario
        self.servers = [s for s in servers if s.level1 and s.cost <= scenario.most_cost]
        self.left_out = [
            f"{s.name} ({'slower than that' if s.level1 else 'another protocol'})"
            for s in servers
            if s not in self.servers
        ]
        self.runs = {server.name: {} for server in self.servers}
        with contextlib.ExitStack() as stack:
            all_running = started(stack, self.servers, report)
            for turn in range(turns):
                for running in all_running[:: -1 if turn % 2 else 1]:
                    if running.server.is_peer and turn >= peer_turns:
                        continue
                    name = running.server.name
                    figures.progress(f"{scenario.part}: {name}: {turn + 1}/{turns}")
                    found = run(options, scenario, running, report)
                    if found:
                        self.runs[name][turn] = found
        figures.progress("")

    def costs(self, name):
        return {turn: self.scenario.figure(found) for turn, found in self.runs[name].items()}

    def show(self, title, what, goal_times, goal=None):
        """`goal`: an absolute one, for Hermes."""
        print(f"\n{title}\n")
        floor = self.servers[0]
        rows = []
        for server in self.servers:
            costs = self.costs(server.name)
            if not costs:
                continue
            against, mark = None, ""
            if server is not floor:
                against = figures.ratio(costs, self.costs(floor.name))
                mark = figures.times(against, None if server.is_peer else goal_times)
            text = figures.spread(costs, 1)
            if goal and server is not floor and not server.is_peer:
                text += "!" if figures.middle(costs) > goal else ""
            rows.append([server.name, text, mark])
        figures.table(["server", f"{what}, µs", "×"], rows)
        if self.left_out:
            print(f"not here: {', '.join(self.left_out)}")

    def json(self):
        return [
            {"server": name, "runs": [strip(found) for found in runs.values()]}
            for name, runs in self.runs.items()
        ]


def strip(found):
    """Without what a page with plots needs and nobody reads here."""
    slim = {k: v for k, v in found.items() if k not in ("points", "machine", "settings")}
    for summary in ("latency", "connect", "served"):
        if isinstance(slim.get(summary), dict):
            slim[summary] = {k: v for k, v in slim[summary].items() if k != "buckets"}
    return slim
