"""Servers under test: started with a port of their own, watched, and stopped again."""

import contextlib
import ctypes
import functools
import http.client
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import tempfile
import threading
import time

import pytest

import raw
from raw import DEADLINE, SLOW

TOP = pathlib.Path(__file__).resolve().parents[2]
HERMES = pathlib.Path(os.environ.get("HERMES", "build/hermes"))
if not HERMES.is_absolute():
    HERMES = TOP / HERMES
ECHO = pathlib.Path(os.environ.get("HERMES_ECHO", HERMES.parent / "test" / "echo"))

ADMIN_PORT = re.compile(r"admin listener.*?\bport\"?[=:]\s*\"?(\d+)")
REPORT = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|Assertion .* failed")
PORT = re.compile(r"listening.*?\bport\"?[=:]\s*\"?(\d+)|^port=(\d+)")

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def clean_environment(**more):
    """This process's, without settings and proxies of the person who runs the tests."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith("WS_") and not k.lower().endswith("_proxy")}
    env.update({k: str(v) for k, v in more.items()})
    return env


def settings(values):
    """workers=3 → WS_WORKERS=3"""
    return {"WS_" + name.upper(): str(value) for name, value in values.items()}


def milliseconds(n):
    """A duration setting that a slow build can keep too."""
    return f"{int(n * SLOW)}ms"


def write_rules(path, rules):
    """`rules`: a list of them, or text that stands for itself."""
    text = rules if isinstance(rules, str) else json.dumps({"rules": rules})
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    fresh.rename(path)


def sanitized():
    binary = HERMES.read_bytes()
    return b"__asan_init" in binary or b"__tsan_init" in binary


def eventually(question, what="it", pause=0.005):
    """Asks until the answer is true, and returns it: for what no event tells."""
    end = time.monotonic() + DEADLINE
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not become true; last answer {answer!r}")
        time.sleep(pause)


def within(body, *arguments):
    """Runs body on a thread of its own; .result() hands out what it returned or raised."""
    import concurrent.futures
    pool = concurrent.futures.ThreadPoolExecutor(1)
    future = pool.submit(body, *arguments)
    pool.shutdown(wait=False)
    return future


class Server:
    """A process that serves, its log, and all clients that tests made of it."""

    def __init__(self, argv, env, nofile=None, find_port=True):
        self.expected_exit = 0
        self.exit_code = None
        self._told = set()  # signals that it was sent
        self.clients = []
        self._lines = []
        self._change = threading.Condition()
        self._ended = False

        def child():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if nofile:
                resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))

        self.process = subprocess.Popen(
            [str(a) for a in argv], env=clean_environment(**env), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=child)
        self.pid = self.process.pid
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()
        self.host = "127.0.0.1"
        self.port = None
        try:
            if find_port:
                found = self.wait_log(PORT)
                self.port = int(found.group(1) or found.group(2))
            else:
                self.port = eventually(self._bound_port, "a listening socket")
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        self.url = f"ws://127.0.0.1:{self.port}"

    def _collect(self):
        for line in self.process.stdout:
            with self._change:
                self._lines.append(line.decode("utf-8", "replace"))
                self._change.notify_all()
        with self._change:
            self._ended = True
            self._change.notify_all()

    def _bound_port(self):
        """For a server that is told to log nothing."""
        inodes = set()
        for entry in os.scandir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(OSError):
                link = os.readlink(entry.path)
                if link.startswith("socket:["):
                    inodes.add(link[8:-1])
        for table in ("tcp", "tcp6"):
            with open(f"/proc/{self.pid}/net/{table}") as rows:
                for row in list(rows)[1:]:
                    fields = row.split()
                    if fields[3] == "0A" and fields[9] in inodes:
                        return int(fields[1].rsplit(":", 1)[1], 16)
        return None

    def log(self):
        with self._change:
            return "".join(self._lines)

    def lines(self):
        with self._change:
            return list(self._lines)

    def wait_log(self, pattern, count=1):
        """The match in the count-th line that has one."""
        pattern = re.compile(pattern)
        end = time.monotonic() + DEADLINE
        with self._change:
            while True:
                found = [m for m in map(pattern.search, self._lines) if m]
                if len(found) >= count:
                    return found[count - 1]
                left = end - time.monotonic()
                if self._ended or left <= 0:
                    raise AssertionError(f"no {pattern.pattern!r} in the log:\n"
                                         + "".join(self._lines[-40:]))
                self._change.wait(left)

    @functools.cached_property
    def admin_port(self):
        """Of the admin listener, which the server logs a moment after its own port."""
        return int(self.wait_log(ADMIN_PORT).group(1))

    def admin(self, method, target, body=None, headers=(), token=None):
        """One request to the admin listener on a connection of its own: (status, headers, bytes)."""
        conn = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=DEADLINE)
        try:
            sent = dict(headers)
            if token is not None:
                sent["Authorization"] = f"Bearer {token}"
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            if method == "POST":
                sent.setdefault("Content-Type", "application/json")
            conn.request(method, target, body=body, headers=sent)
            response = conn.getresponse()
            return response.status, response.headers, response.read()
        finally:
            conn.close()

    def api(self, method, target, body=None, **more):
        """What the API answers: (status, value)."""
        status, _, text = self.admin(method, target, body, **more)
        return status, json.loads(text)

    def raw(self, **more):
        conn = raw.Raw(self.port, **more)
        self.clients.append(conn)
        return conn

    def client(self, **more):
        conn = raw.Client(self.port, **more)
        self.clients.append(conn)
        return conn

    def client2(self, **more):
        conn = raw.Client2(self.port, **more)
        self.clients.append(conn)
        return conn

    def write_rules(self, rules):
        """Puts them in place of those that it was started with: for who then asks to reload."""
        write_rules(self.rules_file, rules)

    def get(self, target, method="GET", extra=()):
        """One plain HTTP request on a connection of its own."""
        with raw.Raw(self.port) as conn:
            conn.send(raw.head(target, method=method, key=None, version=None, upgrade=None,
                               connection="close", extra=extra))
            response = conn.response()
            response.text = conn.body(response) if method != "HEAD" else b""
            if method != "HEAD":
                conn.expect_end()
            return response

    def topic_counts(self, prefix=""):
        with raw.Client(self.port) as conn:
            return conn.counts(prefix)

    def kill(self, number):
        self._told.add(number)
        self.process.send_signal(number)

    def wait(self):
        """Its exit code."""
        self.exit_code = self.process.wait(DEADLINE * 2)
        self._reader.join(DEADLINE)
        return self.exit_code

    def stop(self, number=signal.SIGTERM):
        """Not a second time: that would end it at once."""
        gentle = {signal.SIGTERM, signal.SIGINT}
        if self.process.poll() is None and not (number in gentle and gentle & self._told):
            self.kill(number)
        return self.wait()

    def _status(self, field):
        with open(f"/proc/{self.pid}/status") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) * 1024
        raise KeyError(field)

    def memory(self):
        return self._status("VmRSS")

    def peak_memory(self):
        return self._status("VmHWM")

    def reset_peak(self):
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def finish(self):
        """What holds at the end of every test."""
        for conn in self.clients:
            conn.drop()
        try:
            code = self.exit_code if self.exit_code is not None else self.stop()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        log = self.log()
        if self.expected_exit is None:
            # Ended at once, by _exit amid its threads: ThreadSanitizer calls that a leak of them.
            log = log.replace("ThreadSanitizer: thread leak", "").replace(
                "ThreadSanitizer: reported 1 warnings", "")
        assert not REPORT.search(log), log[-8000:]
        if self.expected_exit is not None:
            assert code == self.expected_exit, f"exit code {code}\n{log[-4000:]}"


@contextlib.contextmanager
def server_factory():
    running = []
    folder = tempfile.TemporaryDirectory(prefix="hermes-rules-")

    def start(*flags, env=None, nofile=None, find_port=True, prefix=(), rules=None, **values):
        if not HERMES.exists():
            pytest.fail(f"{HERMES} is not built")
        # No pings unless asked for: a client that a test leaves unread must not be cut for it,
        # however slow the machine.
        # An admin listener on a port of its own; none where it could not be told from the server's.
        env = {"WS_PORT": "0", "WS_HOST": "127.0.0.1", "WS_PING_SECONDS": "0",
               "WS_ADMIN_PORT": "0" if find_port else "off", **settings(values), **(env or {})}
        env = {name: value for name, value in env.items() if value is not None}
        if rules is not None:
            rules_file = pathlib.Path(folder.name) / f"rules-{len(running)}.json"
            write_rules(rules_file, rules)
            env["WS_CONFIG"] = str(rules_file)
        one = Server([*prefix, HERMES, "serve", *flags], env, nofile=nofile, find_port=find_port)
        one.rules_file = rules_file if rules is not None else None
        running.append(one)
        return one

    try:
        yield start
    except BaseException:
        for one in running:
            with contextlib.suppress(Exception):
                one.process.kill()
        folder.cleanup()
        raise
    folder.cleanup()
    faults = []
    for one in running:
        try:
            one.finish()
        except (AssertionError, subprocess.TimeoutExpired) as fault:
            faults.append(fault)
    if faults:
        raise faults[0]


@pytest.fixture
def workers():
    """Tests for which it matters parametrise it."""
    return 2


@pytest.fixture
def start_server():
    with server_factory() as start:
        yield start


@pytest.fixture(params=["auto", "off"])
def start_server_both_ways(request, start_server):
    """For files in which it matters how batches are sent: import it as start_server."""
    return functools.partial(start_server, io_uring=request.param)


@pytest.fixture
def server(start_server, workers):
    return start_server(workers=workers)
