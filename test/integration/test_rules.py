"""The rules file: how a broker starts with it, refuses to, and takes another at SIGHUP."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from hermes_fixtures import HERMES, within
from raw import DEADLINE
from test_start import refuses, run

SHORT = {"match": "short:*", "max_bytes": 3}


def start_with(text, folder, name="rules.json", **more):
    """A start that is to fail."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return run("serve", WS_CONFIG=path, **more), re.escape(f"WS_CONFIG={path}: ")


@pytest.mark.parametrize("text,words", [
    ("", ["is empty"]),
    (" \n", ["line 2"]),
    ("{", ["line 1"]),
    ("rules", ["line 1"]),
    (b"{\"rules\":[{\"match\":\"\xff\"}]}", ["line 1"]),
    ("[]", [r'give \{"rules": \[\.\.\.\]\}']),
    ("{}", ["rules: is missing"]),
    ('{"rules":[],"more":1}', ["more: there is no such key"]),
    ('{"rules":{"match":"a"}}', ["rules: is an object"]),
    ('{"rules":[{"match":"a"},{"match":"b"},"c"]}', ["rule 3: is a text"]),
    ('{"rules":[{"match":"a"},{"history":1}]}', ["rule 2: match: is missing"]),
    ('{"rules":[{"match":"a:>:b"}]}', ['rule 1: match: "a:>:b"', "last segment"]),
    ('{"rules":[{"match":"a*"}]}', ['rule 1: match: "a\\*"']),
    ('{"rules":[{"match":""}]}', ["rule 1: match: ", "empty"]),
    ('{"rules":[{"match":"a","match":"b"}]}', ["duplicate", "match"]),
    ('{"rules":[{"match":"a","hist":1}]}', ["rule 1: hist: there is no such key", "history_seconds"]),
    ('{"rules":[{"match":"a","history":-1}]}', ["rule 1: history: -1", "1000000"]),
    ('{"rules":[{"match":"a","history":"1"}]}', ["rule 1: history: is a text", "1000000"]),
    ('{"rules":[{"match":"a","history":99999999999999999999}]}', ["rule 1: history: 1e\\+20"]),
    ('{"rules":[{"match":"a","history_bytes":5}]}', ["rule 1: history_bytes: ", "retain"]),
    ('{"rules":[{"match":"a","retain":"yes"}]}', ["rule 1: retain: is a text", "true or false"]),
    ('{"rules":[{"match":"a","policy":"slow"}]}', ["rule 1: policy: ", "drop_oldest"]),
    ('{"rules":[{"match":"a","publish":"me"}]}', ["rule 1: publish: ", "authenticated"]),
    ('{"rules":[{"match":"a","max_bytes":0.5}]}', ["rule 1: max_bytes: 0.5"])])
def test_a_bad_file_is_one_line_that_says_what_would_be_right(tmp_path, text, words):
    done, start = start_with(text, tmp_path)
    refuses(done, start, *words)


def test_a_file_that_is_not_there_is_one_line_that_names_it(tmp_path):
    refuses(run("serve", WS_CONFIG=tmp_path / "none.json"), "WS_CONFIG=.*none.json: ", "No such file")
    refuses(run("serve", "--config", tmp_path / "none.json"), "WS_CONFIG=.*none.json: ", "No such file")


def test_a_directory_is_one_line_that_names_it(tmp_path):
    refuses(run("serve", WS_CONFIG=tmp_path), re.escape(str(tmp_path)), "is a directory")


def test_a_fifo_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    refuses(run("serve", WS_CONFIG=tmp_path / "fifo"), "fifo: is no regular file")


def test_too_large_a_file_is_one_line_that_names_the_limit(tmp_path):
    path = tmp_path / "large.json"
    path.write_text('{"rules":[]}')
    os.truncate(path, (16 << 20) + 1)
    refuses(run("serve", WS_CONFIG=path), "large.json: has 16777217 bytes", "16777216")


def test_a_name_of_many_lines_is_one_line_all_the_same(tmp_path):
    path = tmp_path / "one\ntwo\x1b.json"
    path.write_text("")
    refuses(run("serve", WS_CONFIG=path), r"one\?two\?\.json: is empty")


def test_a_file_that_may_not_be_read_is_one_line_that_says_so(tmp_path):
    path = tmp_path / "secret.json"
    path.write_text('{"rules":[]}')
    path.chmod(0)
    prefix = []
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if not setpriv:
            pytest.skip("root may read anything, and there is no setpriv")
        prefix = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all",
                  "--ambient-caps=-all", "--bounding-set=-all"]
        if subprocess.run([*prefix, str(HERMES), "--version"], capture_output=True,
                          timeout=DEADLINE).returncode != 0:
            pytest.skip("an ordinary user cannot run the binary where it lies")
        for folder in [tmp_path, *tmp_path.parents[:2]]:
            if "pytest" in folder.name or folder == tmp_path:
                folder.chmod(0o755)
    refuses(run("serve", prefix=prefix, WS_CONFIG=path), "secret.json: ", "Permission denied")


def test_a_pattern_that_no_topic_can_match_is_refused(tmp_path):
    rules = json.dumps({"rules": [{"match": "12345"}]})
    done, start = start_with(rules, tmp_path, WS_MAX_TOPIC_BYTES=4)
    refuses(done, start + "rule 1: match: ", "longer than the limit")


def test_help_tells_of_the_file_and_of_sighup():
    text = run("serve", "--help").stdout
    for word in ("WS_CONFIG", "--config", "WS_HISTORY_BYTES", "--history-bytes", "SIGHUP", '"rules"'):
        assert word in text, word


# --- in force ---------------------------------------------------------------------------------


def expect_limit(client, limit):
    """Data published to short:1 may have so many bytes; None: more than any test's limit."""
    if limit is not None:
        client.publish("short:1", "1" * (limit + 1))
        client.expect_error()
    data = "1" * (limit or 20)
    client.subscribe("short:1")
    client.publish("short:1", data)
    assert client.recv_text() == data
    client.unsubscribe("short:1")


def reload(server, pattern, count=1):
    """SIGHUP, and what came of it, on every worker."""
    server.kill(signal.SIGHUP)
    return server.wait_log(pattern, count)


def settled(client):
    """The worker has had its mail of other rules when it has answered: that came first."""
    client.fence()
    client.fence()
    return client


def test_rules_hold_from_the_start_and_are_logged(start_server):
    server = start_server(rules=[SHORT, {"match": "long:>"}])
    server.wait_log(r" info rules loaded rules=2 file=\S+\.json")
    assert server.lines().index(next(s for s in server.lines() if "rules loaded" in s)) < \
        server.lines().index(next(s for s in server.lines() if "listening" in s))
    expect_limit(server.client(), 3)


def test_no_rules_are_no_line(start_server):
    server = start_server()
    expect_limit(server.client(), None)
    assert "rules loaded" not in server.log() and "no rules" not in server.log()


@pytest.mark.parametrize("workers", [1, 3])
def test_sighup_brings_other_rules_to_every_worker(start_server, workers):
    server = start_server(rules=[SHORT], workers=workers)
    clients = [server.client() for _ in range(2 * workers)]
    for client in clients:
        expect_limit(client, 3)
    for count, limit in enumerate([5, 3, 7, None], 2):
        server.write_rules([{"match": "short:*", "max_bytes": limit}] if limit else [])
        reload(server, r" info rules loaded rules=", count)
        for client in [*clients, server.client()]:
            expect_limit(settled(client), limit)


def test_a_bad_file_at_sighup_keeps_the_old_rules_and_logs_why(start_server):
    server = start_server(rules=[SHORT], workers=2)
    clients = [server.client() for _ in range(4)]
    for count, text in enumerate(['{"rules":[{"match":"short:*","max_bytes":-1}]}', "", "{", "[]",
                                  '{"rules":[{"match":"short:*"},{"match":"x","policy":"no"}]}'], 1):
        server.write_rules(text)
        reload(server, r" error rules not loaded, the old ones stay reason=.*WS_CONFIG=", count)
        for client in [*clients, server.client()]:
            expect_limit(settled(client), 3)
    assert re.search(r"rule 2: policy: ", server.log())
    server.rules_file.unlink()
    reload(server, r"rules not loaded.*No such file", 1)
    expect_limit(settled(clients[0]), 3)
    server.write_rules([])
    reload(server, r"rules loaded rules=0")
    expect_limit(settled(clients[0]), None)


def test_sighup_without_a_file_is_logged_and_nothing_else(start_server):
    server = start_server()
    client = server.client()
    for count in (1, 2, 3):
        reload(server, r" info no rules reason=.*WS_CONFIG", count)
    expect_limit(settled(client), None)
    assert server.get("/healthz").status == 200


def test_a_sighup_that_comes_before_the_start_is_not_lost(start_server):
    early = ("import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP]); "
             "os.kill(os.getpid(), signal.SIGHUP); os.execv(sys.argv[1], sys.argv[1:])")
    server = start_server(rules=[SHORT], prefix=[sys.executable, "-c", early])
    server.wait_log("rules loaded", 2)
    expect_limit(server.client(), 3)


def test_sighup_does_not_end_a_drain_at_once(start_server):
    server = start_server(rules=[SHORT], drain_delay_seconds="300ms")
    client = server.client()
    server.kill(signal.SIGTERM)
    server.wait_log("draining")
    server.kill(signal.SIGHUP)
    client.expect_close(1012)
    client.drop()
    assert server.wait() == 0
    assert len(re.findall("rules loaded", server.log())) == 1


def test_reloads_beside_traffic_lose_and_double_nothing(start_server):
    server = start_server(rules=[], workers=3)
    subscribers = [server.client() for _ in range(6)]
    for client in subscribers:
        client.subscribe("t")
    publisher = server.client()
    total = 3000

    def publish():
        for n in range(total):
            publisher.publish("t", n)
        publisher.fence()

    def hear(client):
        return [client.recv_text() for _ in range(total)]

    hearing = [within(hear, client) for client in subscribers]
    publishing = within(publish)
    kinds = itertools.cycle([[{"match": "t", "history": 10}], [{"match": "*", "history": 100}],
                             [{"match": ">", "retain": True}], []])
    for count, rules in enumerate(itertools.islice(kinds, 40), 2):
        server.write_rules(rules)
        reload(server, "rules loaded", count)
    publishing.result(4 * DEADLINE)
    for future in hearing:
        assert future.result(4 * DEADLINE) == [str(n) for n in range(total)]
