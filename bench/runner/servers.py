"""The servers under test: the floor, Hermes, and the peers that are there."""

import importlib.util
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from runner import Trouble

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ADAPTERS = os.path.join(TOP, "bench", "peers")
INSTALL = "third_party/install.sh peers"
START_SECONDS = 20


class Server:
    """One server under test, by the name that the table gives it.

    cost: roughly its µs per delivery where each is one write, by which cells are chosen that it can
    do in reasonable time. level1: whether hermes-bench can speak to it. rules: of Hermes, for
    topics.
    """

    def __init__(
        self, name, command, settings=None, dialect="level1", cost=6, config=None, rules=None
    ):
        self.name = name
        self.command = command
        self.settings = settings or {}
        self.dialect = dialect
        self.cost = cost
        self.config = config
        self.rules = rules
        self.level1 = dialect == "level1"
        self.is_peer = False
        self.processes = 2 if dialect == "nchan" else 1  # nginx: the master and its worker
        self.idle_connections = dialect != "nchan"
        self.many_topics = dialect != "nchan"


def floor(build, name="floor", certificate=()):
    """certificate: its path and that of its key."""
    return Server(name, [os.path.join(build, "bench", "floor"), *certificate])


def hermes(build, workers, name=None, rules=None, certificate=None):
    settings = {
        "WS_HOST": "127.0.0.1",
        "WS_PORT": "0",
        "WS_WORKERS": str(workers),
        # The generators' idle turns are longer than a keepalive interval.
        "WS_PING_SECONDS": "3600",
    }
    if certificate:
        settings |= {"WS_TLS_CERT": certificate[0], "WS_TLS_KEY": certificate[1]}
    name = name or f"hermes, {workers} worker{'s' * (workers > 1)}"
    return Server(name, [os.path.join(build, "hermes"), "serve"], settings, rules=rules)


def find(root, name, folders):
    """A program of the system, or the one that bench/peers/install unpacked."""
    there = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if there:
        return there
    paths = [os.path.join(root, folder, name) for folder in folders]
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def unpacked(root):
    """What programs need that were unpacked rather than installed."""
    libraries = []
    for folder, folders, files in os.walk(os.path.join(root, "usr", "lib")):
        folders[:] = [f for f in folders if f not in ("python3", "nginx")]
        if any(".so" in file for file in files):
            libraries.append(folder)
    return {"LD_LIBRARY_PATH": ":".join(libraries)} if libraries else {}


def nchan_modules(root):
    folders = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", f"{root}/usr/lib/nginx/modules"]
    return next((f for f in folders if os.path.exists(f"{f}/ngx_nchan_module.so")), None)


def peers(build):
    """Those that are there, and a note for each that is not."""
    root = os.path.join(build, "peers", "root")
    programs = ("usr/sbin", "usr/bin")
    libraries = unpacked(root)
    found, notes = [], []

    def add(peer, wanting):
        if wanting:
            notes.append(f"without {peer.name}: {wanting} is not there")
        else:
            peer.is_peer = True
            found.append(peer)

    bun = find(os.path.join(build, "peers", "bun"), "bun", ("node_modules/.bin",))
    add(Server("bun", [bun, os.path.join(ADAPTERS, "bun.js")]), not bun and "bun")

    modules = os.path.join(root, "usr", "lib", "python3", "dist-packages")
    here = importlib.util.find_spec("websockets")
    settings = {} if here else {"PYTHONPATH": modules}
    add(
        Server(
            "python websockets",
            [sys.executable, os.path.join(ADAPTERS, "python.py")],
            settings,
            cost=30,
        ),
        not here and not os.path.isdir(os.path.join(modules, "websockets")) and "websockets",
    )

    nginx, nchan = find(root, "nginx", programs), nchan_modules(root)
    add(
        Server(
            "nginx + nchan",
            [nginx, "-p", "@dir@", "-e", "stderr", "-c", "@config@"],
            libraries,
            dialect="nchan",
            cost=9,
            config=("nchan.conf", {"modules": nchan, "user": "user root;"}),
        ),
        not nginx and "nginx" or not nchan and "its module nchan",
    )

    mosquitto = find(root, "mosquitto", programs)
    add(
        Server(
            "mosquitto",
            [mosquitto, "-c", "@config@"],
            libraries,
            dialect="mqtt",
            cost=12,
            config=("mosquitto.conf", {"user": "user root"}),
        ),
        not mosquitto and "mosquitto",
    )

    nats = find(root, "nats-server", programs)
    add(
        Server(
            "nats-server",
            [nats, "-c", "@config@"],
            dialect="nats",
            cost=16,
            config=("nats.conf", {}),
        ),
        not nats and "nats-server",
    )
    return found, notes


def end(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def family(pid):
    """A process and all below it."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as stat:
                    parents[int(name)] = int(stat.read().rpartition(")")[2].split()[1])
            except OSError:
                pass  # it has ended
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def filled(text, values):
    return re.sub(r"@(\w+)@", lambda m: str(values[m[1]]), text)


class Running:
    """A started server: its processes and its port."""

    def __init__(self, stack, server):
        self.server = server
        self.log = stack.enter_context(tempfile.TemporaryFile())
        command, port = server.command, None
        if server.config:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hermes-bench-"))
            port = free_port()
            file, values = server.config
            config = os.path.join(folder, file)
            values = values | {
                "port": port,
                "dir": folder,
                "config": config,
                "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            }
            if os.getuid() != 0:
                values["user"] = ""
            with open(os.path.join(ADAPTERS, file), encoding="utf-8") as template:
                text = filled(template.read(), values)
            with open(config, "w", encoding="utf-8") as out:
                out.write(text)
            command = [filled(word, values) for word in command]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WS_")}
        if server.rules:
            rules = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".json"))
            json.dump({"rules": server.rules}, rules)
            rules.flush()
            environment["WS_CONFIG"] = rules.name
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env=environment | server.settings,
        )
        stack.callback(end, process)
        self.port = self.wait(process, port)
        self.pids = family(process.pid)
        give_up = time.monotonic() + START_SECONDS
        while len(self.pids) < server.processes:
            if time.monotonic() > give_up:
                raise Trouble(f"{server.name}: fewer than {server.processes} processes")
            time.sleep(0.02)
            self.pids = family(process.pid)

    def wait(self, process, port):
        """The port, as soon as the server listens on it."""
        give_up = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < give_up:
            if port:
                with socket.socket() as s:
                    if s.connect_ex(("127.0.0.1", port)) == 0:
                        return port
            else:
                found = re.search(r"\bport=(\d+)", self.said())
                if found:
                    return int(found[1])
            time.sleep(0.02)
        raise Trouble(f"{self.server.name} does not start:\n{self.said()}")

    def said(self):
        return os.pread(self.log.fileno(), 1 << 16, 0).decode(errors="replace")

    def arguments(self):
        pids = ",".join(str(pid) for pid in self.pids)
        return [f"--port={self.port}", f"--pid={pids}"]


def started(stack, servers, report):
    """Those of the servers that start."""
    running = []
    for server in servers:
        try:
            running.append(Running(stack, server))
        except Trouble as trouble:
            report.fault(server, str(trouble))
    return running
