"""What is logged, in which form, and that nobody can flood it."""

import json
import re

import pytest

import raw
from hermes_fixtures import eventually
from raw import command, publish_text

TEXT_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warn|error) \S[^\n]*\n")


def traffic(server):
    """A bit of everything that may be logged."""
    one, two = raw.Client(server.port), raw.Client(server.port)
    one.subscribe('log "quoted"\\ topic=5')
    two.publish('log "quoted"\\ topic=5', 1)
    assert one.recv_text() == "1"
    one.send(raw.frame(3, b""))
    one.expect_close(1002)
    two.send(raw.frame(raw.CLOSE, raw.close_body(1000, b'line\nbreak "and" quotes')))
    two.expect_close(1000)
    with raw.Raw(server.port) as conn:
        conn.try_send(b"GET /\nnonsense: \x1b[31m\r\n\r\n")
        conn.response()
    one.drop()
    two.drop()


@pytest.mark.parametrize("level", ["debug", "info"])
def test_text_lines_have_time_level_and_event(start_server, level):
    server = start_server(log_level=level, log_format="text", env={"WS_FOO": "a\nb \x1b[31m"})
    traffic(server)
    assert server.stop() == 0
    for line in server.lines():
        assert TEXT_LINE.fullmatch(line), line
        assert line.isprintable() or line[:-1].isprintable(), line


@pytest.mark.parametrize("level", ["debug", "info"])
def test_json_lines_have_time_level_and_event(start_server, level):
    server = start_server(log_level=level, log_format="json", env={"WS_FOO": "a\nb \x1b[31m"})
    traffic(server)
    assert server.stop() == 0
    for line in server.lines():
        row = json.loads(line)
        assert list(row)[:3] == ["time", "level", "event"], line
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["time"])
        assert row["level"] in ("debug", "info", "warn", "error")
        assert row["event"]
    listening = [json.loads(s) for s in server.lines() if '"listening"' in s]
    assert [row["port"] for row in listening] == [server.port]


@pytest.mark.parametrize("level,shown", [("warn", {"warn", "error"}), ("error", {"error"}),
                                         ("info", {"info", "warn", "error"})])
def test_lines_below_the_level_are_left_out(start_server, level, shown):
    server = start_server(log_level=level, env={"WS_FOO": "1"}, find_port=False)
    traffic(server)
    assert server.stop() == 0
    levels = {line.split()[1] for line in server.lines()}
    assert levels <= shown
    if level != "error":
        assert "warn" in levels, "the unknown variable is a warning"


def test_a_message_is_never_a_line(start_server):
    server = start_server(log_level="debug")
    conn = server.client()
    conn.subscribe("t")
    conn.fence()
    before = len(server.lines())
    for n in range(1000):
        conn.publish("t", n)
    for n in range(1000):
        assert conn.recv_text() == str(n)
    conn.publish("nobody", 1)
    assert len(server.lines()) - before < 20


@pytest.mark.parametrize("workers", [1, 3])
def test_a_topic_that_appears_or_goes_is_a_line_at_debug(start_server, workers):
    server = start_server(log_level="debug", workers=workers)
    one, two = server.client(), server.client()
    one.subscribe("zebra")
    server.wait_log(r" debug .*zebra")
    two.subscribe("zebra")
    one.unsubscribe("zebra")
    lines = [s for s in server.lines() if "zebra" in s]
    assert re.search(r"subscribers=\d", lines[0]), lines
    two.drop()
    server.wait_log(r" debug .*zebra", count=2)
    eventually(lambda: re.search(r"zebra.*subscribers=0|subscribers=0.*zebra", server.log()),
               "the line of its end")


def test_topics_are_not_logged_at_info(start_server):
    server = start_server(log_level="info")
    conn = server.client()
    conn.subscribe("zebra")
    conn.unsubscribe("zebra")
    conn.drop()
    assert server.stop() == 0
    assert "zebra" not in server.log()


STRANGERS = {
    "garbage": b"\0garbage\r\n\r\n",
    "bad_version": raw.head(version="8"),
    "not_found": b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n",
    "bad_frame": raw.head() + raw.frame(3, b""),
    "nothing": b"",
}


# At debug, sessions that open are the one thing that is told of each.
@pytest.mark.parametrize("kind,level", [(kind, level) for kind in STRANGERS for level in
                                        ("info", "debug") if (kind, level) != ("bad_frame", "debug")])
def test_strangers_cannot_flood_the_log(start_server, kind, level):
    server = start_server(log_level=level)
    for _ in range(20):
        conns = [raw.Raw(server.port) for _ in range(50)]
        for conn in conns:
            conn.try_send(STRANGERS[kind])
            if kind == "nothing":
                conn.half_close()
        for conn in conns:
            conn.until_end_of_bytes()
            conn.drop()
    server.client().fence()
    limit = 200 if level == "info" else 400
    assert len(server.lines()) < limit, server.log()[-2000:]


def test_errors_of_one_client_cannot_flood_the_log(start_server):
    server = start_server(log_level="info")
    conn = server.client()
    conn.say(*["~"] * 500, *['{"topic":"t"}'] * 500, *[command("unsubscribe", "n")] * 500,
             *[publish_text("a" * 2000, "1")] * 500)
    for _ in range(2000):
        conn.expect_error()
    assert len(server.lines()) < 50


def test_the_end_of_whoever_an_operator_closes_has_the_code_that_was_sent(server):
    for code in (4003, 4711):
        client = server.client2()
        status, got = server.api("POST", "/api/disconnect", json.dumps({"client": client.me, "code": code}))
        assert status == 200, got
        client.expect_close(code)
        server.wait_log(f"info session closed .*closed by an operator.* code={code} ")
