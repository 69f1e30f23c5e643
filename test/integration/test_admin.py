"""The admin listener from outside: how requests are spoken, who may ask, and what it puts up with.

What the API answers is test_api.py's, what the figures are test_metrics.py's."""

import contextlib
import json
import pathlib
import re
import signal
import socket
import time

import pytest

import raw
from hermes_fixtures import TOP, eventually, sanitized, within
from raw import DEADLINE, SLOW
from test_start import refuses, run

TOKEN = "an-admin-token-of-some-length"
PLACES = 64  # connections
KIB = 1024
MIB = 1024 * KIB


def request(method, target, body=b"", host="localhost", extra=(), http="HTTP/1.1"):
    lines = [f"{method} {target} {http}"]
    if host is not None:
        lines.append(f"Host: {host}")
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    if method == "POST" and not any(e.lower().startswith("content-type") for e in extra):
        lines.append("Content-Type: application/json")
    return ("\r\n".join([*lines, *extra]) + "\r\n\r\n").encode() + body


def publish(topic, data):
    return json.dumps({"topic": topic, "data": data}).encode()


class Conn(raw.Raw):
    def __init__(self, server, **more):
        super().__init__(server.admin_port, **more)
        server.clients.append(self)

    def answer(self, head_only=False):
        response = self.response()
        response.text = b"" if head_only else self.body(response)
        del self.buffer[: self.at]
        self.at = 0
        return response

    def ask(self, *pieces, **more):
        self.send(request(*pieces, **more))
        return self.answer(pieces[0] == "HEAD")

    def ended(self):
        return self.until_end_of_bytes() == b""


def figures(server):
    """Asked for on a connection of its own."""
    with raw.Raw(server.admin_port) as conn:
        conn.send(request("GET", "/metrics", extra=["Connection: close"]))
        response = conn.response()
        return conn.body(response)


def is_error(response, status, code):
    assert response.status == status, (response.status, response.text)
    assert response.header("content-type") == "application/json"
    assert response.header("cache-control") == "no-store"
    assert response.header("x-content-type-options") == "nosniff"
    got = json.loads(response.text)["error"]
    assert got["code"] == code and got["message"], got


@pytest.fixture
def conn(server):
    return Conn(server)


# --- what there is -------------------------------------------------------------------------------


@pytest.mark.parametrize("target,text", [("/healthz", b"ok\n"), ("/readyz", b"ready\n")])
def test_health_is_told_here_too(conn, target, text):
    got = conn.ask("GET", target)
    assert (got.status, got.text) == (200, text)
    assert got.header("content-type").startswith("text/plain")


def test_a_path_with_nothing_at_it_is_404(conn):
    for target in ("/nothing", "/api", "/api/nothing", "/healthz/", "//", "/dashboard", "/../etc/passwd",
                   "/%2e%2e/", "/api/topics//"[:5]):
        is_error(conn.ask("GET", target), 404, "not_found")


@pytest.mark.parametrize("method,target,allowed", [
    ("POST", "/", "GET, HEAD"), ("DELETE", "/api/topics", "GET, HEAD"), ("GET", "/api/publish", "POST"),
    ("PUT", "/api/publish", "POST"), ("OPTIONS", "/metrics", "GET, HEAD"), ("get", "/metrics", "GET, HEAD"),
    ("PATCH", "/hermes.js", "GET, HEAD")])
def test_a_method_that_is_not_there_is_405_and_told_which_are(conn, method, target, allowed):
    got = conn.ask(method, target)
    is_error(got, 405, "method_not_allowed")
    assert got.header("allow") == allowed
    assert conn.ask("GET", "/healthz").status == 200


@pytest.mark.parametrize("target", ["/", "/metrics", "/healthz", "/api/topics", "/nothing"])
def test_head_is_get_without_the_body(conn, target):
    whole = conn.ask("GET", target)
    head = conn.ask("HEAD", target)
    names = [n for n, _ in whole.headers]
    assert [n for n, _ in head.headers] == names
    assert head.status == whole.status
    if target != "/metrics":
        assert head.header("content-length") == whole.header("content-length")
    assert conn.ask("GET", "/healthz").text == b"ok\n"


# --- the files that are built in -----------------------------------------------------------------


def assets():
    rows = re.findall(r'^ASSET\(\w+, "(.*?)", "(.*?)", "(.*?)", (\w+)\)',
                      (TOP / "src/admin/assets.def").read_text(), re.M)
    assert len(rows) > 3
    return rows


@pytest.mark.parametrize("path,file,type,kind", assets())
def test_a_file_comes_as_it_is_and_not_again_while_it_is_the_same(conn, path, file, type, kind):
    got = conn.ask("GET", path)
    assert got.status == 200
    assert got.header("content-type") == type
    assert got.text == (TOP / file).read_bytes(), "built from another state of the file"
    tag = got.header("etag")
    assert re.fullmatch(r'"[0-9a-f]{16}"', tag)
    for tags in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        again = conn.ask("GET", path, extra=[f"If-None-Match: {tags}"])
        assert again.status == 304 and again.text == b"" and again.header("etag") == tag
    assert conn.ask("GET", path, extra=['If-None-Match: "x"']).status == 200
    policy = got.header("content-security-policy")
    assert bool(policy) == (kind == "PAGE")
    assert (got.header("access-control-allow-origin") == "*") == (kind == "SHARED")


def test_a_page_may_run_no_scripts_but_ours(conn):
    policy = dict(each.strip().split(" ", 1) for each in
                  conn.ask("GET", "/").header("content-security-policy").split(";"))
    assert policy["default-src"] == "'none'" and policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'" and policy["base-uri"] == "'none'"
    assert "unsafe" not in str(policy)


def test_no_two_files_have_one_path():
    paths = [path for path, *_ in assets()]
    assert len(set(paths)) == len(paths)


# --- who may ask ---------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/metrics", "/api/topics", "/api/status", "/api/topics/x"])
def test_with_a_token_figures_and_api_ask_for_it(start_server, target):
    server = start_server(admin_token=TOKEN)
    conn = Conn(server)
    got = conn.ask("GET", target)
    is_error(got, 401, "unauthorized")
    assert got.header("www-authenticate").startswith("Bearer")
    for wrong in ("Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN[1:]}",
                  f"Bearer {TOKEN}{TOKEN}", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN.upper()}",
                  f"Bearer {TOKEN} {TOKEN}", "Bearer an-admin-token-of-some-lengtH"):
        is_error(conn.ask("GET", target, extra=[f"Authorization: {wrong}"]), 401, "unauthorized")
    right = f"Authorization: Bearer {TOKEN}"
    is_error(conn.ask("GET", target, extra=[right, right]), 401, "unauthorized")
    for form in (right, f"authorization: bearer {TOKEN}", f"Authorization: BEARER   {TOKEN}  "):
        assert conn.ask("GET", target, extra=[form]).status in (200, 404)
    assert target == "/metrics" or TOKEN not in server.log()


@pytest.mark.parametrize("target", ["/", "/healthz", "/readyz", "/hermes.js", "/robots.txt"])
def test_with_a_token_pages_and_health_are_open(start_server, target):
    assert Conn(start_server(admin_token=TOKEN)).ask("GET", target).status == 200


def test_the_token_is_nowhere_to_be_seen(start_server):
    server = start_server("--admin-token", TOKEN)
    assert Conn(server).ask("GET", "/metrics", extra=[f"Authorization: Bearer {TOKEN}"]).status == 200
    for name in ("cmdline", "environ"):
        assert TOKEN.encode() not in pathlib.Path(f"/proc/{server.pid}/{name}").read_bytes()
    other = start_server(admin_token=TOKEN)
    assert Conn(other).ask("GET", "/metrics").status == 401
    assert TOKEN.encode() not in pathlib.Path(f"/proc/{other.pid}/environ").read_bytes()
    assert TOKEN not in server.log() + other.log()


def in_memory(pid, needle):
    """How often it stands in a process's writable memory."""
    count = 0
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for row in maps:
            where, rights, *_ = row.split()
            start, end = (int(at, 16) for at in where.split("-"))
            if not rights.startswith("rw") or end - start > 1 << 28:
                continue
            with contextlib.suppress(OSError):
                memory.seek(start)
                count += memory.read(end - start).count(needle)
    return count


@pytest.mark.parametrize("pieces", [1, 7, 25])
def test_the_token_does_not_lie_about_in_memory(start_server, pieces):
    """Neither where it was set, nor where it was asked with: the broker has one, and the listener."""
    if sanitized():
        pytest.skip("a sanitizer keeps what is freed, and moves it about")
    server = start_server(admin_token=TOKEN)
    conn = Conn(server)
    whole = request("GET", "/api/topics", extra=[f"Authorization: Bearer {TOKEN}", "X: " + "x" * 3000])
    for _ in range(20):
        for at in range(0, len(whole), len(whole) // pieces + 1):
            conn.send(whole[at: at + len(whole) // pieces + 1])
        assert conn.answer().status == 200
    eventually(lambda: in_memory(server.pid, TOKEN.encode()) == 2, "two tokens")  # the last one goes behind its answer


def test_the_token_may_be_in_a_file(start_server, tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    conn = Conn(start_server(admin_token_file=file))
    assert conn.ask("GET", "/metrics").status == 401
    assert conn.ask("GET", "/metrics", extra=[f"Authorization: Bearer {TOKEN}"]).status == 200


def test_the_file_is_read_again_when_told(start_server, tmp_path):
    file = tmp_path / "token"
    file.write_text("the-first-of-the-tokens")
    server = start_server(admin_token_file=file)
    conn = Conn(server)

    def status(token):
        return conn.ask("GET", "/metrics", extra=[f"Authorization: Bearer {token}"]).status

    assert status("the-first-of-the-tokens") == 200
    file.write_text("the-second-of-the-tokens\n")
    assert status("the-second-of-the-tokens") == 401
    server.kill(signal.SIGHUP)
    server.wait_log("admin token loaded")
    eventually(lambda: status("the-second-of-the-tokens") == 200)
    assert status("the-first-of-the-tokens") == 401
    file.write_text("two words")
    server.kill(signal.SIGHUP)
    server.wait_log("error admin token not loaded, the old one stays reason=.*no token")
    file.unlink()
    server.kill(signal.SIGHUP)
    server.wait_log("error admin token not loaded, the old one stays reason=.*No such file")
    assert status("the-second-of-the-tokens") == 200
    assert "of-the-tokens" not in server.log()


@pytest.mark.parametrize("text", ["", "\n", "two words", "mit Umläuten", "x" * 1025, "a\nb"])
def test_what_can_be_no_token_is_one_line_that_says_so(tmp_path, text):
    file = tmp_path / "token"
    file.write_text(text)
    refuses(run("serve", WS_ADMIN_PORT=0, WS_ADMIN_TOKEN_FILE=file), "WS_ADMIN_TOKEN_FILE|token: ", "token")
    if text and "\0" not in text and text != "\n":
        refuses(run("serve", WS_ADMIN_PORT=0, WS_ADMIN_TOKEN=text), "WS_ADMIN_TOKEN", "token")


def test_two_tokens_or_no_file_are_one_line_that_says_so(tmp_path):
    file = tmp_path / "token"
    refuses(run("serve", WS_ADMIN_PORT=0, WS_ADMIN_TOKEN_FILE=file), "No such file", str(file))
    file.write_text(TOKEN)
    done = run("serve", WS_ADMIN_PORT=0, WS_ADMIN_TOKEN_FILE=file, WS_ADMIN_TOKEN=TOKEN)
    refuses(done, "WS_ADMIN_TOKEN", "not both")
    assert TOKEN not in done.stderr


def test_a_short_token_is_warned_of(start_server):
    start_server(admin_token="short").wait_log("weak admin token")


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::"])
def test_without_a_token_no_other_machine_may_be_let_in(host):
    if host == "::" and not pathlib.Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    for port in ("0", "auto"):
        if port == "auto" and busy_8090():
            continue
        refuses(run("serve", WS_ADMIN_PORT=port, WS_ADMIN_HOST=host), "WS_ADMIN_HOST", "WS_ADMIN_TOKEN")


@pytest.mark.parametrize("values,host", [
    ({"admin_host": "0.0.0.0", "admin_token": TOKEN}, "0.0.0.0"),
    ({"admin_host": "auto", "admin_token": TOKEN}, r"\*"),
    ({"admin_host": "auto"}, "127.0.0.1"), ({"admin_host": "localhost"}, "localhost")])
def test_where_it_listens_is_what_was_asked_for(start_server, values, host):
    server = start_server(**values)
    server.wait_log(rf"admin listener host={host} port={server.admin_port} ")
    assert Conn(server).ask("GET", "/healthz").status == 200


# --- pages of other sites ------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8090", "localhost.evil.example", "127.0.0.1.evil.example",
                                  "127.1", "[::1", "[evil.example]", "[]", "", "1.2.3.4:", "localhost:80:80", "::1"])
@pytest.mark.parametrize("target", ["/", "/api/topics", "/metrics", "/nothing"])
def test_a_name_that_was_made_to_point_here_gets_nothing(conn, host, target):
    got = conn.ask("GET", target, host=host)
    if host == "1.2.3.4:":  # an address all the same
        assert got.status in (200, 404)
    else:
        is_error(got, 403, "forbidden")
        assert "WS_ADMIN_TOKEN" in json.loads(got.text)["error"]["message"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1", "127.0.0.1:8090", "[::1]",
                                  "[::1]:8090", "10.1.2.3", None])
def test_addresses_and_localhost_are_answered(conn, host):
    assert conn.ask("GET", "/api/topics", host=host, http="HTTP/1.0" if host is None else "HTTP/1.1").status == 200


def test_with_a_token_any_name_is_answered(start_server):
    conn = Conn(start_server(admin_token=TOKEN))
    right = [f"Authorization: Bearer {TOKEN}"]
    assert conn.ask("GET", "/metrics", host="hermes.example", extra=right).status == 200
    is_error(conn.ask("GET", "/metrics", host="hermes.example"), 401, "unauthorized")


def test_health_is_told_under_any_name(conn):
    assert conn.ask("GET", "/readyz", host="hermes.example").status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:1", "null", "http://localhost",
                                    "file://", "localhost:8090", "http://localhost:8090/", "http://localhost:8090, x"])
def test_pages_of_other_origins_may_change_nothing(server, conn, origin):
    listener = server.client()
    listener.subscribe("t")
    got = conn.ask("POST", "/api/publish", publish("t", 1), host="localhost:8090", extra=[f"Origin: {origin}"])
    is_error(got, 403, "forbidden")
    listener.publish("t", 2)
    assert listener.recv_text() == "2"


@pytest.mark.parametrize("origin", ["http://localhost:8090", "https://localhost:8090", "http://LOCALHOST:8090", None])
def test_our_own_page_may(server, conn, origin):
    extra = [f"Origin: {origin}"] if origin else []
    assert conn.ask("POST", "/api/publish", publish("t", 1), host="localhost:8090", extra=extra).status == 200


@pytest.mark.parametrize("type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "",
                                  "application/jsonp", "text/plain; application/json"])
def test_what_a_form_can_send_is_415(conn, type):
    is_error(conn.ask("POST", "/api/publish", publish("t", 1), extra=[f"Content-Type: {type}"]), 415, "malformed")
    assert conn.ask("POST", "/api/publish", publish("t", 1),
                    extra=["Content-Type: Application/JSON ; charset=utf-8"]).status == 200


def test_a_refused_request_is_logged_with_its_path(server, conn):
    conn.ask("GET", "/api/topics?secret=in-the-query", host="evil.example")
    server.wait_log("admin request refused.*status=403.*path=/api/topics ")
    assert "in-the-query" not in server.log()


# --- many requests on one connection -------------------------------------------------------------


def test_a_connection_is_kept_for_many_requests(conn):
    for i in range(300):
        assert conn.ask("GET", "/healthz").status == 200
        assert conn.ask("POST", "/api/publish", publish("t", i)).status == 200


def test_pipelined_requests_are_answered_in_order(conn):
    each = [request("GET", "/healthz"), request("POST", "/api/publish", publish("t", "x" * 5000)), request("HEAD", "/healthz"),
            request("GET", "/nothing"), request("GET", "/api/connections"), request("GET", "/robots.txt")]
    conn.send(*each * 50)
    for _ in range(50):
        assert conn.answer().text == b"ok\n"
        assert json.loads(conn.answer().text)["topic"] == "t"
        assert conn.answer(head_only=True).status == 200
        assert conn.answer().status == 404
        assert "connections" in json.loads(conn.answer().text)
        assert b"Disallow" in conn.answer().text


def test_a_request_may_come_byte_by_byte(conn):
    for byte in request("POST", "/api/publish", publish("t", 1)) + request("GET", "/healthz"):
        conn.send(bytes([byte]))
    assert conn.answer().status == 200
    assert conn.answer().text == b"ok\n"


@pytest.mark.parametrize("http,extra,kept", [
    ("HTTP/1.1", [], True), ("HTTP/1.1", ["Connection: close"], False), ("HTTP/1.1", ["Connection: x, Close"], False),
    ("HTTP/1.0", [], False)])
def test_a_connection_ends_when_that_is_asked_for(conn, http, extra, kept):
    got = conn.ask("GET", "/healthz", http=http, extra=extra)
    assert got.status == 200
    assert (got.header("connection") == "close") != kept
    if kept:
        assert conn.ask("GET", "/healthz").status == 200
    else:
        assert conn.ended()


def test_who_ends_its_side_still_gets_the_answers(conn):
    conn.send(request("GET", "/healthz"), request("GET", "/api/connections"), request("GET", "/robots.txt")[:-3])
    conn.half_close()
    assert conn.answer().text == b"ok\n"
    assert conn.answer().status == 200
    assert conn.ended()


def test_a_body_that_is_announced_is_waited_for_and_asked_for(conn):
    body = publish("t", "x" * 20000)
    whole = request("POST", "/api/publish", body, extra=["Expect: 100-continue"])
    conn.send(whole[: -len(body)])
    assert conn.response().status == 100
    conn.send(body)
    assert conn.answer().status == 200


def test_a_body_nobody_wants_is_not_the_next_request(conn):
    got = conn.ask("GET", "/healthz", request("GET", "/nothing"))
    assert got.text == b"ok\n"
    assert conn.ask("GET", "/robots.txt").status == 200


# --- what cannot be right ------------------------------------------------------------------------


BAD = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01", "words": b"hello there\r\n\r\n", "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "length and coding": b"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": b"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
    "no length": b"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    "negative": b"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    "plus": b"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\n",
    "list": b"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3, 3\r\n\r\n",
    "hex": b"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0x3\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nHost: localhost\r\n more\r\n\r\n", "bare LF": b"GET / HTTP/1.1\nHost: localhost\n\n",
    "space in name": b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", "null": b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("bytes", BAD.values(), ids=BAD.keys())
def test_what_is_no_request_is_400_and_the_end(conn, bytes):
    conn.send(bytes)
    got = conn.answer()
    is_error(got, 400, "malformed")
    assert got.header("connection") == "close"
    assert conn.ended()


def test_a_good_request_before_a_bad_one_is_answered(conn):
    conn.send(request("GET", "/healthz"), b"no request\r\n\r\n")
    assert conn.answer().text == b"ok\n"
    is_error(conn.answer(), 400, "malformed")
    assert conn.ended()


@pytest.mark.parametrize("extra", [["X: " + "x" * 9000], [f"X-{i}: y" for i in range(70)]])
def test_a_head_that_is_too_large_is_431(conn, extra):
    conn.try_send(request("GET", "/healthz", extra=extra))
    is_error(conn.answer(), 431, "too_large")
    assert conn.ended()


def test_a_body_without_a_length_is_411(conn):
    conn.send(b"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
              b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    is_error(conn.answer(), 411, "malformed")
    assert conn.ended()


@pytest.mark.parametrize("length", [MIB + 64 * KIB + 1, 1 << 40, 1 << 63, 1 << 64, 10 ** 30])
def test_a_body_that_is_too_large_is_413_before_it_comes(server, conn, length):
    conn.send(b"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
              b"Content-Length: %d\r\n\r\n" % length)
    is_error(conn.answer(), 413, "too_large")
    assert conn.ended()
    assert server.memory() < 600 * MIB or sanitized()


def test_the_largest_body_is_taken_and_the_largest_message_is_published(server, conn):
    listener = server.client()
    listener.subscribe("t")
    value = "x" * (MIB - 2)
    assert conn.ask("POST", "/api/publish", publish("t", value)).status == 200
    assert json.loads(listener.recv_text()) == value
    padded = publish("t", 1)
    padded += b" " * (MIB + 64 * KIB - len(padded))
    assert conn.ask("POST", "/api/publish", padded).status == 200
    assert listener.recv_text() == "1"


def test_who_was_refused_and_sends_on_still_hears_why(conn):
    """What is thrown away of a connection must not take the answer with it."""
    body = b"x" * (200 * KIB)
    conn.send(request("POST", "/api/nothing", body))
    is_error(conn.answer(), 404, "not_found")
    assert conn.sock.recv(1) == b""  # an end, and no reset, which may overtake the answer


# --- who takes long, and who comes in crowds -----------------------------------------------------


def half_requests():
    whole = request("POST", "/api/publish", publish("t", 1))
    return {"a head": whole[:20], "a body": whole[:-3], "nothing": b""}


def test_half_requests_are_waited_for_ten_seconds_and_no_more(start_server):
    server = start_server()
    start = time.monotonic()
    conns = {name: Conn(server) for name in half_requests()}
    for name, bytes in half_requests().items():
        conns[name].send(bytes)
        conns[name].sock.settimeout(10 + DEADLINE)
    for name, conn in conns.items():
        assert conn.ended(), name
        assert time.monotonic() - start > 9, name
    assert b"\nhermes_admin_timeouts_total 2\n" in figures(server)


def test_who_does_not_read_is_not_read_from_and_then_cut(start_server):
    server = start_server()
    one = Conn(server, rcvbuf=4096)
    before = server.memory()
    one.sock.settimeout(1)
    sent = 0
    with contextlib.suppress(OSError):
        while sent < 64 * MIB:
            sent += one.sock.send(request("GET", "/hermes.js") * 100)
    assert sent < 64 * MIB  # it stopped reading
    assert server.memory() - before < 16 * MIB or sanitized()
    end = time.monotonic() + 10 + DEADLINE
    while b"hermes_admin_connections 1\n" not in figures(server):  # the others do not notice
        assert time.monotonic() < end, "the slow one is not cut"
        time.sleep(0.2)


def test_an_idle_connection_makes_room_for_a_new_one(server):
    old = [Conn(server) for _ in range(PLACES)]
    for conn in old:
        assert conn.ask("GET", "/healthz").status == 200
    assert old[0].ask("GET", "/healthz").status == 200  # so the second is idle for longest now
    assert Conn(server).ask("GET", "/healthz").status == 200
    assert old[1].ended()
    assert old[0].ask("GET", "/healthz").status == 200


def test_when_all_places_are_busy_one_more_is_503(server):
    busy = [Conn(server) for _ in range(PLACES)]
    whole = request("POST", "/api/publish", publish("t", 2))
    for conn in busy:  # with an answer to the one, the half one behind it has been read, too
        conn.send(request("GET", "/healthz"), whole[:-3])
        assert conn.answer().text == b"ok\n"
    for _ in range(3):
        late = Conn(server)
        got = late.answer()
        is_error(got, 503, "unavailable")
        assert got.header("retry-after") == "1"
        assert late.ended()
    server.client().publish("t", 1)  # the broker itself is not touched by it
    for conn in busy[:8]:
        conn.send(whole[-3:])
        assert conn.answer().status == 200
    assert Conn(server).ask("GET", "/healthz").status == 200


# Nobody needs a token to leave a head half there.
def test_half_heads_keep_nobody_out(start_server):
    server = start_server(admin_token=TOKEN)
    half = [Conn(server) for _ in range(PLACES)]
    for conn in half:
        conn.send(request("GET", "/healthz"), request("GET", "/healthz")[:-3])
        assert conn.answer().text == b"ok\n"
    late = [Conn(server) for _ in range(3)]
    for conn in late:  # which are kept: each needs a place of its own
        conn.send(request("GET", "/healthz"), request("POST", "/api/publish", publish("t", 1),
                                                      extra=[f"Authorization: Bearer {TOKEN}"])[:-3])
        assert conn.answer().text == b"ok\n"
    for conn in half[:3]:
        assert conn.ended()
    for conn in half[3:]:  # the older ones made room
        conn.send(request("GET", "/healthz")[-3:])
        assert conn.answer().text == b"ok\n"


def test_bodies_that_are_half_there_share_a_budget(start_server):
    server = start_server(max_message_bytes="4m")
    body = publish("t", "x" * (4 * MIB - 100))
    conns = [Conn(server) for _ in range(12)]
    statuses = []
    for conn in conns:
        conn.sock.settimeout(2 * SLOW)
        conn.try_send(request("POST", "/api/publish", body)[:-1])
    eventually(lambda: any(c.pending() for c in conns), "a refusal")
    refused = [c for c in conns if c.pending()]
    assert len(refused) < 12
    for conn in refused:
        got = conn.answer()
        is_error(got, 503, "unavailable")
        assert got.header("retry-after") == "1"
    for conn in conns:
        if conn not in refused:
            conn.try_send(body[-1:])
            statuses.append(conn.answer().status)
    assert 200 in statuses and set(statuses) <= {200, 503}  # on a slow machine some are refused late
    assert server.memory() < 200 * MIB or sanitized()


def test_many_at_once_are_all_answered(server):
    def work(n):
        conn = Conn(server)
        for i in range(40):
            assert conn.ask("POST", "/api/publish", publish(f"t:{n}", i)).status == 200
            assert conn.ask("GET", "/api/connections?limit=5").status == 200
        return n

    jobs = [within(work, n) for n in range(16)]
    assert sorted(job.result(4 * DEADLINE) for job in jobs) == list(range(16))


# --- its port ------------------------------------------------------------------------------------


def test_a_busy_port_that_was_asked_for_is_one_line_that_names_it():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refuses(run("serve", WS_ADMIN_PORT=port), str(port), "WS_ADMIN_PORT", "(?i)use")


def busy_8090():
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 8090))
        except OSError:
            return True
    return False


def test_the_port_that_nobody_asked_for_may_be_busy(start_server):
    with contextlib.ExitStack() as stack:
        if not busy_8090():
            other = stack.enter_context(socket.socket())
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", 8090))
            other.listen()
        server = start_server(env={"WS_ADMIN_PORT": None})  # as hermes serve does by itself
        server.wait_log("warn no admin listener reason=.*8090.*use")
        assert server.get("/readyz").status == 200


def test_an_address_that_is_not_here_is_one_line_too():
    refuses(run("serve", WS_ADMIN_PORT=0, WS_ADMIN_HOST="192.0.2.1"), "192.0.2.1", "WS_ADMIN_HOST")


def test_off_is_off(start_server):
    server = start_server(admin_port="off")
    server.stop()
    assert "admin listener" not in server.log()


def test_nothing_of_it_is_on_the_public_port(server):
    for target in ("/metrics", "/", "/hermes.js", "/api/topics", "/api/status"):
        assert server.get(target).status in (404, 426)


# --- the end -------------------------------------------------------------------------------------


def test_it_answers_while_the_broker_drains(start_server):
    server = start_server(drain_seconds=60)
    stuck = server.client(rcvbuf=4096)
    stuck.subscribe("t")
    conn = Conn(server)
    for _ in range(20):
        conn.ask("POST", "/api/publish", publish("t", "x" * 900_000))
    server.kill(signal.SIGTERM)
    server.wait_log("draining")
    got = conn.ask("GET", "/readyz")
    assert (got.status, got.text) == (503, b"shutting down\n")
    assert conn.ask("GET", "/healthz").status == 200
    assert b"hermes_draining 1\n" in conn.ask("GET", "/metrics").text
    assert json.loads(conn.ask("GET", "/api/status").text)["draining"] is True
    assert b"hermes_connections 1\n" in conn.ask("GET", "/metrics").text
    assert conn.ask("GET", "/api/connections").status == 200
    assert conn.ask("POST", "/api/publish", publish("t", 1)).status == 200
    stuck.drop()
    assert conn.ended()


def test_a_broker_ends_with_requests_in_whatever_state(start_server):
    server = start_server(workers=3, drain_seconds="300s")
    conns = [Conn(server) for _ in range(12)]
    for i, conn in enumerate(conns):
        conn.send(*half_requests().values() if i % 3 == 0 else [request("GET", "/api/connections") * 5])
        if i % 3 == 1:
            conn.send(request("GET", "/hermes.js") * 200)
    assert server.stop() == 0  # which waits much less than a drain may take
    for conn in conns:
        conn.until_end_of_bytes()


def test_starts_and_ends_in_a_storm_of_questions(start_server):
    for workers in (1, 2, 5):
        server = start_server(workers=workers)
        clients = [server.client() for _ in range(30)]
        for i, client in enumerate(clients):
            client.subscribe(f"t:{i % 7}")

        def storm(n):
            with contextlib.suppress(OSError, raw.Ended, AssertionError):
                conn = Conn(server)
                while True:
                    for target in ("/api/connections", "/api/topics?sort=rate", "/api/presence?topic=t:1", "/metrics", "/api/status"):
                        conn.ask("GET", target)

        jobs = [within(storm, n) for n in range(6)]
        eventually(lambda: b"hermes_admin_requests_total 0\n" not in figures(server))
        assert server.stop() == 0
        for job in jobs:
            job.result(2 * DEADLINE)


def test_drain_by_request_ends_the_broker(server, conn):
    got = conn.ask("POST", "/api/drain", b"{}")
    assert got.status == 202 and json.loads(got.text) == {"draining": True}
    assert server.wait() == 0
