"""How it starts, and how it refuses to: one line that names the setting, and exit code 1."""

import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

from hermes_fixtures import HERMES, clean_environment
from raw import DEADLINE


def run(*arguments, prefix=(), **env):
    """A start that is to end by itself."""
    env.setdefault("WS_PORT", "0")
    env.setdefault("WS_HOST", "127.0.0.1")
    return subprocess.run([*prefix, str(HERMES), *arguments], env=clean_environment(**env),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=2 * DEADLINE)


def refuses(done, *words):
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    for word in words:
        assert re.search(word, lines[0]), (word, lines[0])


@pytest.mark.parametrize("name,value", [
    ("WS_PORT", "abc"), ("WS_PORT", "-1"), ("WS_PORT", "65536"), ("WS_PORT", "80 80"),
    ("WS_PORT", "8080x"), ("WS_PORT", "99999999999999999999"), ("WS_PORT", "1.5"),
    ("WS_WORKERS", "x"), ("WS_WORKERS", "-1"), ("WS_WORKERS", "100000"),
    ("WS_BACKLOG", "-5"), ("WS_BACKLOG", "many"),
    ("WS_MAX_CONNECTIONS", "-1"), ("WS_MAX_CONNECTIONS", "1.5"),
    ("WS_MAX_MESSAGE_BYTES", "12q"), ("WS_MAX_MESSAGE_BYTES", "m"), ("WS_MAX_MESSAGE_BYTES", "-1m"),
    ("WS_MAX_MESSAGE_BYTES", "1mm"), ("WS_MAX_MESSAGE_BYTES", "99999999999999999999g"),
    ("WS_MAX_MESSAGE_BYTES", "18014398509481984k"),
    ("WS_MAX_TOPIC_BYTES", "0x10"), ("WS_MAX_BACKLOG_BYTES", "lots"),
    ("WS_PING_SECONDS", "5x"), ("WS_PING_SECONDS", "-5s"), ("WS_HANDSHAKE_SECONDS", "soon"),
    ("WS_DRAIN_SECONDS", "1e99"), ("WS_LOG_LEVEL", "loud"), ("WS_LOG_FORMAT", "xml"),
    ("WS_HOST", "not an address"), ("WS_HOST", "256.256.256.256")])
def test_a_bad_setting_is_one_line_that_names_it(name, value):
    refuses(run("serve", **{name: value}), re.escape(name))


@pytest.mark.parametrize("flag,value", [("--port", "abc"), ("--workers", "x"),
                                        ("--max-message-bytes", "12q"), ("--log-level", "loud")])
@pytest.mark.parametrize("form", ["two", "one"])
def test_a_bad_flag_value_is_one_line_that_names_it(flag, value, form):
    arguments = [flag, value] if form == "two" else [f"{flag}={value}"]
    name = "WS_" + flag[2:].replace("-", "_").upper()
    refuses(run("serve", *arguments), f"{flag}|{name}")


@pytest.mark.parametrize("arguments", [["--no-such-flag"], ["--no-such-flag", "5"],
                                       ["--no-such-flag=5"]])
def test_an_unknown_flag_is_one_line_that_names_it(arguments):
    refuses(run("serve", *arguments), "--no-such-flag")


def test_a_flag_without_its_value_is_one_line_that_names_it():
    refuses(run("serve", "--port"), "--port")


def test_a_word_too_many_is_one_line_that_names_it():
    refuses(run("serve", "more"), "more")


def test_a_busy_port_is_one_line_that_names_it():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refuses(run("serve", WS_PORT=port), str(port), "WS_PORT|port", "(?i)use")


def test_an_address_that_is_not_here_is_one_line_that_names_it():
    refuses(run("serve", WS_HOST="192.0.2.1"), "192.0.2.1")


def test_a_port_that_needs_privileges_is_one_line_that_says_what_to_do():
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as first:
        if int(first.read()) <= 1:
            pytest.skip("every port is free to all here")
    prefix = []
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if not setpriv:
            pytest.skip("root may bind anything, and there is no setpriv")
        prefix = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all",
                  "--ambient-caps=-all", "--bounding-set=-all"]
        if subprocess.run([*prefix, str(HERMES), "--version"], capture_output=True,
                          timeout=DEADLINE).returncode != 0:
            pytest.skip("an ordinary user cannot run the binary where it lies")
    refuses(run("serve", prefix=prefix, WS_PORT=1), "WS_PORT|port", "(?i)permi|privileg|root")


def test_flags_win_over_the_environment(start_server):
    server = start_server("--max-subscriptions", "1", "--max-topic-bytes=5", max_subscriptions=100)
    conn = server.client()
    conn.subscribe("five5")
    conn.say('{"type":"subscribe","topic":"two"}')
    conn.expect_error()
    conn.say('{"topic":"sixsix","data":1}')
    conn.expect_error()


def test_it_serves_without_the_word_serve_too():
    process = subprocess.Popen([str(HERMES)], stderr=subprocess.PIPE, text=True,
                               env=clean_environment(WS_PORT="0", WS_HOST="127.0.0.1"))
    try:
        for line in process.stderr:
            if "listening" in line:
                break
        else:
            raise AssertionError("it ended")
    finally:
        process.terminate()
        process.stderr.read()
        assert process.wait(DEADLINE) == 0


def test_an_unknown_variable_is_warned_about_and_it_starts(start_server):
    server = start_server(env={"WS_FOO": "bar", "WS_PORT_443_TCP_ADDR": "10.0.0.1"})
    server.wait_log(r"warn.*\bWS_FOO\b")
    server.wait_log(r"warn.*\bWS_PORT_443_TCP_ADDR\b")
    assert server.get("/healthz").status == 200


def test_known_variables_are_not_warned_about(start_server):
    server = start_server(max_connections=50, max_connections_per_address=0, workers=1,
                          max_message_bytes="64k", log_level="info", ping_seconds="30s",
                          backlog=16)
    assert server.get("/healthz").status == 200
    assert not re.search(r"\bwarn\b", server.log())


@pytest.mark.parametrize("settings", [
    {"max_message_bytes": "65536"}, {"max_message_bytes": "64k"}, {"max_message_bytes": "64K"},
    {"handshake_seconds": "5"}, {"handshake_seconds": "5000ms"}, {"ping_seconds": "1h"},
    {"pong_seconds": "2m"}, {"max_backlog_bytes": "1g"}])
def test_units_are_understood(start_server, settings):
    assert start_server(**settings).get("/healthz").status == 200


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["-h"]])
def test_help_goes_to_stdout_and_exits_0(arguments):
    done = run(*arguments)
    assert done.returncode == 0
    assert "hermes" in done.stdout and done.stderr == ""


def test_version_goes_to_stdout_and_exits_0():
    done = run("--version")
    assert done.returncode == 0
    assert re.search(r"\d+\.\d+", done.stdout) and done.stderr == ""


def test_two_servers_get_two_ports(start_server):
    one, two = start_server(), start_server()
    assert one.port != two.port
    first, second = one.client(), two.client()
    first.subscribe("t")
    second.publish("t", 1)
    second.fence()
    first.fence()


def test_a_port_is_free_again_at_once(start_server):
    server = start_server()
    conn = server.client()
    server.kill(signal.SIGTERM)
    conn.expect_close(1012)
    conn.drop()
    assert server.wait() == 0
    again = start_server(port=server.port)
    again.client().fence()
