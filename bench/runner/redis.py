"""A Redis of our own: on a free port, with nothing kept, ended by its pid."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time

from runner import Trouble
from runner.servers import START_SECONDS, end, free_port


class Redis:
    """Started when made. `restart` ends it at once, as a crash would, and starts it anew."""

    @staticmethod
    def program():
        return shutil.which("redis-server") or shutil.which("valkey-server")

    def __init__(self, stack):
        self.folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hermes-bench-"))
        self.port = free_port()
        self.start()
        stack.callback(lambda: end(self.process))

    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def start(self):
        command = [self.program(), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", self.folder]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if self.ask("PING").startswith("+PONG"):
                    return
            time.sleep(0.002)
        raise Trouble("Redis does not start")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def ask(self, words):
        """A command without spaces in its arguments; its answer as it came, if that is a line or
        one text."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as link:
            link.sendall(words.encode() + b"\r\n")
            answer = b""
            while not whole(answer):
                piece = link.recv(65536)
                if not piece:
                    break
                answer += piece
        return answer.decode(errors="replace")

    def channels(self):
        """That somebody subscribes to."""
        for line in self.ask("INFO stats").splitlines():
            if line.startswith("pubsub_channels:"):
                return int(line.split(":")[1])
        raise Trouble("Redis does not say how many channels are subscribed")


def whole(answer):
    head, mark, rest = answer.partition(b"\r\n")
    if not mark:
        return False
    return not head.startswith(b"$") or len(rest) >= int(head[1:]) + 2
