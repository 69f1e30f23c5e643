"""src/web/hermes.js in Node and in Chromium, against the broker that is stopped and started under it;
its types; and the package that is made of it."""

import functools
import http.server
import json
import pathlib
import re
import shutil
import signal
import subprocess
import threading

import pytest

from browser import browser  # noqa: F401
from hermes_fixtures import TOP, clean_environment, within
from raw import DEADLINE

FOLDER = pathlib.Path(__file__).parent / "node"
WEB = TOP / "src" / "web"
NODE = shutil.which("nodejs") or shutil.which("node")
TSC = shutil.which("tsc")
NPM = shutil.which("npm")


def scenarios(script):
    text = (FOLDER / script).read_text().split("const scenarios")[1]
    return re.findall(r"^    async (\w+)\(\) \{$", text, re.M)


@functools.cache
def native_flags():
    """What makes this Node have a WebSocket of its own, if it can: None if not."""
    for flags in [], ["--experimental-websocket"]:
        done = subprocess.run([NODE, *flags, "-e", "process.exit(typeof WebSocket === 'function' ? 0 : 1)"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if done.returncode == 0:
            return flags
    return None


class Brokers:
    """Does to the broker what a script asks for."""

    def __init__(self, start_server):
        self._start_server = start_server
        self.one = None

    def start(self, settings):
        self.one = self._start_server(**settings)
        return {"port": self.one.port}

    def stop(self):
        assert self.one.stop() == 0, self.one.log()
        return {}

    def kill(self):
        self.one.expected_exit = -signal.SIGKILL
        self.one.stop(signal.SIGKILL)
        return {}

    def obey(self, request):
        verb = request.pop("do")
        return getattr(self, verb)(**request)


def run(script, scenario, start_server, which="ws"):
    assert NODE, "nodejs is not installed"
    flags = native_flags() if which == "native" else []
    if flags is None:
        pytest.skip("this Node has no WebSocket of its own")
    brokers = Brokers(start_server)
    process = subprocess.Popen(
        [NODE, "--no-warnings", *flags, str(FOLDER / script), scenario, which], text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment(NODE_PATH="/usr/share/nodejs"))
    complaint = within(process.stderr.read)
    watch = threading.Timer(5 * DEADLINE, process.kill)
    watch.start()
    try:
        for line in process.stdout:
            process.stdin.write(json.dumps(brokers.obey(json.loads(line))) + "\n")
            process.stdin.flush()
        code = process.wait(DEADLINE)
    finally:
        watch.cancel()
        process.kill()
        process.wait()
    assert code == 0, complaint.result()


@pytest.mark.parametrize("which", ["ws", "native"])
@pytest.mark.parametrize("scenario", scenarios("client_live.mjs"))
def test_with_a_broker(start_server, scenario, which):
    run("client_live.mjs", scenario, start_server, which)


@pytest.mark.parametrize("scenario", scenarios("client_alone.mjs"))
def test_alone(scenario):
    run("client_alone.mjs", scenario, None)
