"""A real HAProxy in front of a server under test."""

import ctypes
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

from hermes_fixtures import PR_SET_PDEATHSIG, clean_environment
from raw import DEADLINE

LIBC = ctypes.CDLL(None)

CONFIG = """
global
    maxconn 1000
    stats socket {folder}/stats mode 600 level admin
defaults
    timeout connect 30s
    timeout client 300s
    timeout server 300s
    timeout check 30s
listen test
    mode {mode}
    bind fd@{fd}
    {lines}
    server hermes 127.0.0.1:{port} {send}
"""


class HAProxy:
    def __init__(self, folder, port, send="", mode="tcp", lines=()):
        # Bound here, to a port that the system chooses; it inherits it.
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.folder = folder
        config = folder / "haproxy.cfg"
        fd = self.listener.fileno()
        config.write_text(CONFIG.format(folder=folder, mode=mode, fd=fd, port=port, send=send,
                                        lines="\n    ".join(lines)))
        self.process = subprocess.Popen(
            ["haproxy", "-db", "-q", "-f", str(config)], pass_fds=[fd], env=clean_environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))

    def check_status(self):
        """How its last health check went: "L7OK" and the like."""
        with socket.socket(socket.AF_UNIX) as stats:
            stats.settimeout(DEADLINE)
            try:
                stats.connect(str(self.folder / "stats"))
            except (FileNotFoundError, ConnectionRefusedError):
                return None
            stats.sendall(b"show stat\n")
            text = b"".join(iter(lambda: stats.recv(65536), b"")).decode()
        names, *rows = (line.split(",") for line in text.splitlines() if "," in line)
        for row in rows:
            if row[1] == "hermes":
                return row[names.index("check_status")]
        return None

    def stop(self):
        self.listener.close()
        self.process.kill()
        said = self.process.communicate()[0].decode("utf-8", "replace")
        assert not re.search(r"\[ALERT\]", said), said


@pytest.fixture
def haproxy():
    if not shutil.which("haproxy"):
        pytest.fail("haproxy is not installed: third_party/install.sh test")
    running = []
    with tempfile.TemporaryDirectory(prefix="hermes-haproxy-") as folder:

        def start(server, **more):
            mine = pathlib.Path(folder) / str(len(running))
            mine.mkdir()
            one = HAProxy(mine, server.port, **more)
            running.append(one)
            return one

        try:
            yield start
        finally:
            for one in running:
                one.stop()
