"""Both levels again, spoken by Node's `ws` (node/level1.mjs, node/level2.mjs)."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from hermes_fixtures import clean_environment
from raw import DEADLINE

FOLDER = pathlib.Path(__file__).parent / "node"
NODE = shutil.which("nodejs") or shutil.which("node")
RULES = [{"match": "h:*", "history": 100}, {"match": "shut", "publish": "nobody"},
         {"match": "small", "max_bytes": 5}]


def scenarios(script):
    text = (FOLDER / script).read_text().split("const scenarios")[1]
    return re.findall(r"^    async (\w+)\(\) \{$", text, re.M)


def run(script, server, scenario):
    assert NODE, "nodejs is not installed"
    path = os.pathsep.join(filter(None, [os.environ.get("NODE_PATH"), "/usr/share/nodejs"]))
    done = subprocess.run([NODE, str(FOLDER / script), server.url + "/", scenario],
                          timeout=3 * DEADLINE, env=clean_environment(NODE_PATH=path), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("workers", [3])
@pytest.mark.parametrize("scenario", scenarios("level1.mjs"))
def test_ws(server, scenario):
    run("level1.mjs", server, scenario)


@pytest.mark.parametrize("scenario", scenarios("level2.mjs"))
def test_ws_at_level_2(start_server, scenario):
    run("level2.mjs", start_server(workers=3, max_backlog_bytes="1m", rules=RULES), scenario)
