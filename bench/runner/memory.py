"""Memory per connection: a server is started anew for each reading."""

import contextlib
import json
import os
import subprocess

from runner import figures
from runner.servers import started

GOALS = {"idle": 400, "shared": 450, "own": 650}


def measure(options, servers, report):
    rows = []
    for server in servers:
        for mode in GOALS:
            if mode == "idle" and not server.idle_connections:
                continue
            connections = options.peer_connections if server.is_peer else options.connections
            figures.progress(f"memory: {server.name}, {mode}")
            with contextlib.ExitStack() as stack:
                running = started(stack, [server], report)
                if not running:
                    break
                command = [os.path.join(options.build, "bench", "saturate"), mode]
                command += running[0].arguments()
                command += [f"--dialect={server.dialect}", f"--connections={connections}"]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                report.fault(server, f"its memory could not be measured ({mode})")
            else:
                rows.append(json.loads(done.stdout) | {"server": server.name})
    figures.progress("")
    return rows


def show(rows):
    print("\nMemory: user memory per connection in bytes (resident, all processes)\n")
    lines = []
    for name in dict.fromkeys(row["server"] for row in rows):
        mine = {row["mode"]: row for row in rows if row["server"] == name}
        line = [name, next(iter(mine.values()))["connections"]]
        for mode, goal in GOALS.items():
            missed = name.startswith("hermes") and mode in mine and mine[mode]["rss"] > goal
            line.append(f"{mine[mode]['rss']:.0f}" + "!" * missed if mode in mine else "-")
        lines.append(line)
    lines.append(["goal", "", *GOALS.values()])
    figures.table(["server", "connections", "idle", "one shared topic", "own topic"], lines)
