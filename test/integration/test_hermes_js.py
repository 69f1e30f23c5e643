"""src/web/hermes.js in Node (node/client_live.mjs, node/client_alone.mjs) and in Chromium, against the broker
that is stopped and started under it; its types; and the package that is made of it."""

import contextlib
import functools
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading

import jwt
import pytest

from browser import browser  # noqa: F401
from hermes_fixtures import TOP, clean_environment, within
from raw import DEADLINE
from tls_support import start_tls, world  # noqa: F401

FOLDER = pathlib.Path(__file__).parent / "node"
WEB = TOP / "src" / "web"
NODE = shutil.which("nodejs") or shutil.which("node")
TSC = shutil.which("tsc")
NPM = shutil.which("npm")
MODULES = os.pathsep.join(filter(None, [os.environ.get("NODE_PATH"), "/usr/share/nodejs"]))  # where `ws` is
SECRET = "0123456789abcdef0123456789abcdef"


def scenarios(script):
    text = (FOLDER / script).read_text().split("const scenarios")[1]
    return re.findall(r"^    async (\w+)\(\) \{$", text, re.M)


@functools.cache
def native_flags():
    """What makes this Node have a WebSocket of its own: None if it has none, or an experimental one."""
    for flags in [[]] if NODE else []:
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
        tls = getattr(self.one, "tls", None)
        return {"port": self.one.port, "url": f"wss://localhost:{tls.port}/" if tls else f"{self.one.url}/"}

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
    brokers = Brokers(start_server)
    process = subprocess.Popen(
        [NODE, "--no-warnings", *flags, str(FOLDER / script), scenario, which], text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment(NODE_PATH=MODULES))
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


@pytest.mark.parametrize("scenario", scenarios("client_live.mjs"))
def test_with_a_broker(start_server, scenario):
    run("client_live.mjs", scenario, start_server)


@pytest.mark.parametrize("scenario", ["round_trip", "recovery", "restarts", "queue", "unknown_outcome", "bad_tokens",
                                      "slow", "half_open", "too_large"] if native_flags() is not None else [])
def test_with_nodes_own_websocket(start_server, scenario):
    run("client_live.mjs", scenario, start_server, "native")


@pytest.mark.parametrize("scenario", ["round_trip", "restarts"])
def test_over_tls(start_tls, world, monkeypatch, scenario):  # noqa: F811
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(world.ca))
    run("client_live.mjs", scenario, start_tls)


@pytest.mark.parametrize("scenario", scenarios("client_alone.mjs"))
def test_alone(scenario):
    run("client_alone.mjs", scenario, None)


# ---- in Chromium -----------------------------------------------------------------------------------

KEPT = [{"match": "h:*", "history": 1000}, {"match": "in", "subscribe": "authenticated"}]
BEGIN = """(async () => {
    const { connect } = await import(args[0]);
    window.hermes = connect(args[1], { backoff: { minimum: 20, maximum: 200 },
        random: () => window.random ?? Math.random(), ...args[2] });
    window.heard = [];
    window.told = [];
    for (const event of ["open", "close", "error", "gap"])
        hermes.on(event, (given) => told.push([event, given.code ?? given.reason ?? given.client]));
    window.sub = hermes.subscribe(args[3] ?? "h:t", (message) => heard.push([message.offset, message.data, message.raw]));
    return sub.ready.then(({ offset }) => offset, ({ code }) => code);
})()"""


class Page(http.server.BaseHTTPRequestHandler):
    """A page and the module beside it, as any site would serve them."""

    def do_GET(self):
        script = self.path == "/hermes.js"
        body = (WEB / "hermes.js").read_bytes() if script else b"<!doctype html><link rel=icon href=data:,>"
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if script else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def page(browser):  # noqa: F811
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as site:
        within(site.serve_forever)
        one = browser.open(f"http://127.0.0.1:{site.server_port}/")
        try:
            yield one
        finally:
            with contextlib.suppress(Exception):
                one.close()
            site.shutdown()


def test_a_page_of_any_site_loads_it_from_the_broker(start_server, page):
    server = start_server(rules=KEPT)
    assert page.run(BEGIN, f"http://127.0.0.1:{server.admin_port}/hermes.js", server.url) == 0
    assert page.run("hermes.publish('h:t', { price: 170.5 })") == {"topic": "h:t", "offset": 1, "subscribers": 1}
    assert server.api("POST", "/api/publish", '{"topic":"h:t","data":123456789012345678901234567890}')[0] == 200
    page.until("heard.length === 2")
    assert page.run("heard.map(([offset, , raw]) => [offset, raw])") == [
        [1, '{"price":170.5}'], [2, "123456789012345678901234567890"]]
    assert page.run("hermes.client") in server.api("GET", "/api/presence?topic=h:t")[1]["clients"]
    page.run("hermes.close()")
    assert page.run("hermes.state") == "closed"
    assert not page.complaints()
    status, headers, body = server.admin("GET", "/hermes.js")
    assert (status, body) == (200, (WEB / "hermes.js").read_bytes())
    assert headers["Content-Type"].startswith("text/javascript")


def test_a_page_loses_nothing_when_it_is_cut_off(start_server, page):
    server = start_server(rules=KEPT)
    assert page.run(BEGIN, "./hermes.js", server.url) == 0
    for n in range(1, 101):
        assert server.api("POST", "/api/publish", {"topic": "h:t", "data": n})[0] == 200
        if n % 10 == 0:
            page.until("hermes.state === 'open' && heard.length > args[0] - 10", n)
            client = page.run("hermes.client")
            assert server.api("POST", "/api/disconnect", {"client": client, "code": 4000})[1] == {"disconnected": 1}
    page.until("heard.length === 100")
    assert page.run("heard.map(([offset, data]) => [offset, data])") == [[n, n] for n in range(1, 101)]
    assert page.run("told.filter(([event]) => event === 'close').length") == 10
    assert page.run("told.filter(([event]) => event === 'gap' || event === 'error')") == []


def test_a_page_outlives_the_broker(start_server, page):
    server = start_server(rules=KEPT)
    assert page.run(BEGIN, "./hermes.js", server.url) == 0
    for number in signal.SIGTERM, signal.SIGKILL:
        assert page.run("hermes.publish('h:t', 'before')")["subscribers"] == 1
        page.run("void (window.told = [], window.heard = [])")
        server.expected_exit = -number if number == signal.SIGKILL else 0
        server.stop(number)
        page.until("hermes.state !== 'open'")
        # What is published meanwhile waits.
        page.run("void (window.late = hermes.publish('h:t', 'late'))")
        server = start_server(rules=KEPT, port=server.port)
        page.run("hermes.reconnect()")
        assert page.run("late")["topic"] == "h:t"
        page.until("heard.length === 1")
        assert page.run("heard[0][1]") == "late"
        events = [event for event in page.run("told") if event[0] != "error"]
        assert [event for event, _ in events] == ["close", "gap", "open"] or [
            event for event, _ in events] == ["close", "open", "gap"]
        assert events[0][1] == (1012 if number == signal.SIGTERM else 1006)


def test_a_page_with_a_token(start_server, page):
    server = start_server(rules=KEPT, jwt_secret=SECRET)
    good = jwt.encode({"sub": "alice"}, SECRET, "HS256")
    expired = jwt.encode({"sub": "alice", "exp": 1000}, SECRET, "HS256")
    assert page.run(BEGIN, "./hermes.js", server.url, {"token": good}, "in") == 0
    assert [header for event in page.events if event["method"] == "Network.webSocketWillSendHandshakeRequest"
            for header, value in event["params"]["request"]["headers"].items() if value.endswith(f"token.{good}")]
    page.run("hermes.close()")
    # A page cannot see that its handshake got 401: it asks again in another way.
    assert page.run(BEGIN, "./hermes.js", server.url, {"token": expired}, "in") == "token_expired"
    assert page.run("hermes.state") == "closed"
    assert page.run(BEGIN, "./hermes.js", server.url, {}, "in") == "forbidden"


def test_a_page_comes_back_as_soon_as_its_network_does(start_server, page):
    server = start_server()
    # Left alone it would wait for a quarter of an hour.
    page.run("void (window.random = 1)")
    assert page.run(BEGIN, "./hermes.js", server.url, {"backoff": {"minimum": 1e6, "maximum": 1e9}}) == 0
    server.expected_exit = -signal.SIGKILL
    server.stop(signal.SIGKILL)
    page.until("hermes.state === 'waiting'")
    start_server(port=server.port)
    page.run("void (window.random = 0, dispatchEvent(new Event('online')))")
    page.until("hermes.state === 'open'")


# ---- types, and the package ------------------------------------------------------------------------

def check_types(folder):
    done = subprocess.run(
        [TSC, "--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom", "--module", "node16",
         "--moduleResolution", "node16", "types.mts"], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=clean_environment())
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not TSC, reason="tsc is not installed")
def test_types(tmp_path):
    for name in "hermes.js", "hermes.d.ts":
        shutil.copy(WEB / name, tmp_path)
    text = (FOLDER / "client_types.mts").read_text()
    (tmp_path / "types.mts").write_text(text.replace("../../../src/web/hermes.js", "./hermes.js"))
    (tmp_path / "package.json").write_text('{"type":"module"}')
    check_types(tmp_path)


def test_what_is_exported_is_typed():
    types = (WEB / "hermes.d.ts").read_text()
    exported = re.findall(r"^export (?:class|function) (\w+)", (WEB / "hermes.js").read_text(), re.M)
    assert sorted(exported) == ["Hermes", "HermesError", "Subscription", "afterClose", "connect"]
    for name in exported:
        assert re.search(rf"^export (class|function) {name}\b", types, re.M), name


def test_the_package_has_the_projects_version_and_licence():
    package = json.loads((WEB / "package.json").read_text())
    version = re.search(r"^VERSION := (\S+)$", (TOP / "Makefile").read_text(), re.M).group(1)
    assert package["version"] == version
    assert (WEB / "LICENSE").read_bytes() == (TOP / "LICENSE").read_bytes()
    assert "dependencies" not in package


@pytest.mark.skipif(not NPM, reason="npm is not installed")
def test_the_package_is_packed_installed_and_used(start_server, tmp_path):
    env = clean_environment(npm_config_cache=tmp_path / "cache", npm_config_update_notifier="false",
                            npm_config_loglevel="error", npm_config_offline="true", NODE_PATH=MODULES)

    def do(*argv):
        done = subprocess.run(argv, cwd=project, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=6 * DEADLINE)
        assert done.returncode == 0, done.stderr
        return done.stdout

    project = tmp_path / "project"
    project.mkdir()
    (packed,) = json.loads(do(NPM, "pack", "--json", "--pack-destination", str(tmp_path), str(WEB)))
    assert sorted(file["path"] for file in packed["files"]) == [
        "LICENSE", "README.md", "hermes.d.ts", "hermes.js", "package.json"]
    (project / "package.json").write_text('{"name":"user","type":"module","private":true}')
    do(NPM, "install", "--no-audit", "--no-fund", str(tmp_path / packed["filename"]))
    (project / "use.mjs").write_text("""
        import { createRequire } from "node:module";
        import { connect } from "hermes-broker-client";
        const hermes = connect(process.argv[2], { WebSocket: createRequire(import.meta.url)("ws") });
        const sub = hermes.subscribe("t");
        await sub.ready;
        await hermes.publish("t", { n: 1 });
        for await (const message of sub) {
            console.log(JSON.stringify(message));
            break;
        }
        await hermes.close();
    """)
    message = json.loads(do(NODE, "use.mjs", start_server().url))
    assert (message["topic"], message["data"], message["offset"]) == ("t", {"n": 1}, 1)
    if TSC:
        text = (FOLDER / "client_types.mts").read_text()
        (project / "types.mts").write_text(text.replace("../../../src/web/hermes.js", "hermes-broker-client"))
        check_types(project)
