"""Under a service manager: sockets handed over, and what it is told. By systemd's protocol, which
the tests speak themselves (sd_listen_fds(3), sd_notify(3))."""

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

import raw
from hermes_fixtures import HERMES, LIBC, TOP, clean_environment, eventually

# Stands for the manager: binds, and becomes the server with the sockets as descriptors from 3 on.
LAUNCHER = """
import os, socket, sys
names, flavour, argv = sys.argv[1].split(":"), sys.argv[2], sys.argv[3:]
kept = []
for number, name in enumerate(names):
    kind = socket.SOCK_DGRAM if flavour == "datagram" else socket.SOCK_STREAM
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("" if flavour == "exposed" else "127.0.0.1", 0))
    if flavour in ("listening", "exposed", "of another"):
        sock.listen(64)
    kept.append(os.dup2(sock.fileno(), 50 + number))
for number in range(len(names)):
    os.dup2(50 + number, 3 + number, inheritable=True)
    os.close(50 + number)
os.environ.update(LISTEN_FDS=str(len(names)), LISTEN_FDNAMES=":".join(names),
                  LISTEN_PID=str(os.getpid() + (flavour == "of another")))
os.execv(argv[0], argv)
"""


def launcher(names, flavour="listening"):
    return ["/usr/bin/python3", "-c", LAUNCHER, names, flavour]


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(path)
        self.sock.settimeout(raw.DEADLINE)

    def told(self):
        return self.sock.recv(4096).decode().split("\n")

    def wait(self, line):
        while line not in (lines := self.told()):
            pass
        return lines


def worker_thread(server):
    """The id of one that is neither the main thread nor the acceptor's: workers are started first.
    ThreadSanitizer has one of its own, which is there before main."""
    its_own = b"__tsan_init" in HERMES.read_bytes()
    return sorted(int(task) for task in os.listdir(f"/proc/{server.pid}/task"))[1 + its_own]


class Stopped:
    """A thread that does not go on, as one that hangs: ptrace stops it alone."""

    SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17

    def __init__(self, tid):
        self.tid = tid

    def _ptrace(self, request):
        assert LIBC.ptrace(request, self.tid, None, None) == 0, os.strerror(ctypes.get_errno())

    def __enter__(self):
        LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        if LIBC.ptrace(self.SEIZE, self.tid, None, None) != 0:
            pytest.skip("threads may not be traced here")
        self._ptrace(self.INTERRUPT)
        os.waitpid(self.tid, 0x40000000)  # __WALL
        return self

    def __exit__(self, *_):
        self._ptrace(self.DETACH)


@pytest.fixture
def manager(tmp_path):
    one = Manager(str(tmp_path / "notify"))
    one.env = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    yield one
    one.sock.close()


def test_a_socket_that_was_handed_over_is_served(start_server):
    server = start_server(prefix=launcher("hermes"), port="1")  # which could not be bound
    one, other = server.client(), server.client()
    one.subscribe("t")
    other.publish("t", 1)
    assert one.recv_json() == 1
    assert server.port != 1


def test_each_name_has_its_listener(start_server, tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", tmp_path / "key.pem",
                    "-out", tmp_path / "cert.pem", "-days", "2", "-subj", "/CN=localhost"],
                   check=True, capture_output=True)
    server = start_server(prefix=launcher("hermes:tls:admin"), admin_port="off",
                          tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem")
    tls_port = int(server.wait_log(r"listening.*port=(\d+) tls=yes").group(1))
    assert len({server.port, tls_port, server.admin_port}) == 3
    assert server.get("/healthz").status == 200
    assert server.admin("GET", "/healthz")[0] == 200
    text = subprocess.run(
        ["curl", "-sS", "--cacert", tmp_path / "cert.pem", "--resolve",
         f"localhost:{tls_port}:127.0.0.1", f"https://localhost:{tls_port}/healthz"],
        capture_output=True, check=True, env=clean_environment()).stdout
    assert text == b"ok\n"


def test_several_sockets_may_be_for_clients(start_server):
    server = start_server(prefix=launcher("one:two:three"), admin_port="off")
    fds = f"/proc/{server.pid}/fd"
    inodes = {os.readlink(f"{fds}/{fd}") for fd in os.listdir(fds)}
    ports = []
    with open(f"/proc/{server.pid}/net/tcp") as rows:
        for row in list(rows)[1:]:
            fields = row.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                ports.append(int(fields[1].rsplit(":", 1)[1], 16))
    assert len(ports) == 3 and server.port in ports
    for port in ports:
        with raw.Client(port) as client:
            client.fence()


def test_sockets_of_another_process_are_not_taken(start_server):
    server = start_server(prefix=launcher("hermes", "of another"))
    assert server.get("/healthz").status == 200
    inode = os.readlink(f"/proc/{server.pid}/fd/3")
    with open(f"/proc/{server.pid}/net/tcp") as rows:
        row = [r.split() for r in list(rows)[1:] if f"socket:[{r.split()[9]}]" == inode]
    assert not row or int(row[0][1].rsplit(":", 1)[1], 16) != server.port


@pytest.mark.parametrize("names, flavour, error", [
    ("hermes", "bound", "descriptor 3, for WS_PORT, is no TCP socket that listens"),
    ("hermes", "datagram", "descriptor 3, for WS_PORT, is no TCP socket that listens"),
    ("admin", "datagram", "descriptor 3, for WS_ADMIN_PORT, is no TCP socket"),
    (":".join("abcdefghi"), "listening", "too many sockets"),
    ("tls", "listening", "WS_TLS_PORT is set, but WS_TLS_CERT is not"),
    ("admin", "exposed", "the socket given for WS_ADMIN_PORT would let others than this machine"),
])
def test_what_cannot_be_listened_on_is_one_line(names, flavour, error):
    done = subprocess.run([*launcher(names, flavour), HERMES, "serve"], capture_output=True,
                          env=clean_environment(WS_PORT=0, WS_ADMIN_PORT="off"),
                          timeout=raw.DEADLINE)
    assert done.returncode == 1
    text = done.stderr.decode()
    assert error in text and text.count("\n") == 1, text


def test_the_manager_is_told_when_it_is_ready_reloads_and_stops(start_server, manager):
    server = start_server(env=manager.env)
    lines = manager.wait("READY=1")
    assert f"STATUS=Listening on port {server.port}" in lines
    server.kill(signal.SIGHUP)
    lines = manager.wait("RELOADING=1")
    assert any(re.fullmatch(r"MONOTONIC_USEC=[1-9]\d+", line) for line in lines)
    manager.wait("READY=1")
    server.kill(signal.SIGTERM)
    manager.wait("STOPPING=1")
    assert server.wait() == 0


def test_the_manager_is_told_of_an_end_that_was_asked_for_by_request(start_server, manager):
    server = start_server(env=manager.env, admin_port="0", drain_delay_seconds="1")
    manager.wait("READY=1")
    assert server.admin("POST", "/api/drain", {})[0] == 202
    manager.wait("STOPPING=1")
    server.kill(signal.SIGTERM)  # as the manager may then: it is no second one, which ends at once
    assert server.wait() == 0
    manager.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            assert "STOPPING=1" not in manager.told()


def test_a_socket_for_the_admin_listener_has_descriptors_kept_for_it(start_server):
    def most(names):
        server = start_server(prefix=launcher(names), admin_port="off")
        return int(server.wait_log(r"listening.*max_connections=(\d+)").group(1))

    assert most("hermes:admin") < most("hermes")


def test_whoever_cannot_start_is_never_ready(manager):
    done = subprocess.run([HERMES, "serve"], capture_output=True, timeout=raw.DEADLINE,
                          env=clean_environment(WS_HOST="no.such.host.invalid", **manager.env))
    assert done.returncode == 1
    manager.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.told()


def test_a_name_in_the_abstract_namespace_will_do(start_server, tmp_path):
    name = f"hermes-test-{os.getpid()}-{tmp_path.name}"
    manager = Manager("\0" + name)
    start_server(env={"NOTIFY_SOCKET": "@" + name})
    manager.wait("READY=1")
    manager.sock.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_signs_of_life_come_for_as_long_as_all_threads_go_round(start_server, manager, workers):
    server = start_server(workers=workers, env={**manager.env, "WATCHDOG_USEC": "40000"})
    for _ in range(5):
        manager.wait("WATCHDOG=1")
    # One of its workers is stopped by the kernel's debugger, as a thread that hangs would be.
    with Stopped(worker_thread(server)):
        # What was told before is taken; what was answered before may still be told of, and no more.
        # So there is silence at last, where a hundred would come in that time.
        manager.sock.settimeout(2)
        heard = 0
        with pytest.raises(TimeoutError):
            while heard < 1000:
                heard += "WATCHDOG=1" in manager.told()
    manager.sock.settimeout(raw.DEADLINE)
    manager.wait("WATCHDOG=1")


def test_one_sign_of_life_may_be_left_out(start_server, manager):
    wanted = 1
    start_server(env={**manager.env, "WATCHDOG_USEC": str(wanted * 1000000)})
    manager.wait("READY=1")
    came = []

    def often_enough():
        manager.wait("WATCHDOG=1")
        came.append(time.monotonic())
        return len(came) >= 3 and came[-1] - came[-3] < 0.75 * wanted

    # Of a slow machine they come late at times. With two in that time three would never be so near.
    eventually(often_enough, "a sign of life in every quarter of that time")

def test_the_watchdog_of_another_process_is_not_fed(start_server, manager):
    server = start_server(env={**manager.env, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"})
    manager.wait("READY=1")
    server.client().fence()
    server.stop()
    manager.sock.setblocking(False)
    told = []
    with pytest.raises(BlockingIOError):
        while True:
            told += manager.told()
    assert "STOPPING=1" in told and "WATCHDOG=1" not in told


def test_make_install_leaves_units_that_hold(tmp_path):
    done = subprocess.run(["make", "-s", "install", f"DESTDIR={tmp_path}", "PREFIX=/opt/h",
                           f"BUILD={HERMES.parent}", "-o", "all"], cwd=TOP, capture_output=True)
    assert done.returncode == 0, done.stderr
    units = tmp_path / "opt/h/lib/systemd/system"
    service = (units / "hermes.service").read_text()
    assert "ExecStart=/opt/h/bin/hermes serve\n" in service and "@" not in service
    assert os.access(tmp_path / "opt/h/bin/hermes", os.X_OK)
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not here to read the units")
    # Where it can look for the program: below a root of its own.
    text = (units / "hermes.service").read_text().replace("/opt/h/bin/hermes", str(
        tmp_path / "opt/h/bin/hermes"))
    (tmp_path / "hermes.service").write_text(text)
    shutil.copy(units / "hermes.socket", tmp_path)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", tmp_path / "hermes.service",
                           tmp_path / "hermes.socket"], capture_output=True, text=True)
    about = [line for line in done.stderr.splitlines() if "hermes" in line]
    assert not about, about
