"""Level 1 again, spoken by Node's `ws` (node/level1.mjs)."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from hermes_fixtures import clean_environment
from raw import DEADLINE

SCRIPT = pathlib.Path(__file__).parent / "node" / "level1.mjs"
SCENARIOS = re.findall(r"^    async (\w+)\(\) \{$", SCRIPT.read_text().split("const scenarios")[1],
                       re.M)
NODE = shutil.which("nodejs") or shutil.which("node")


@pytest.mark.parametrize("workers", [3])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ws(server, scenario):
    assert NODE, "nodejs is not installed"
    path = os.pathsep.join(filter(None, [os.environ.get("NODE_PATH"), "/usr/share/nodejs"]))
    done = subprocess.run([NODE, str(SCRIPT), server.url + "/", scenario], timeout=3 * DEADLINE,
                          env=clean_environment(NODE_PATH=path), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
