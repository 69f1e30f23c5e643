"""/metrics: the format by a reader of our own, the figures by what was done before."""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from hermes_fixtures import TOP, eventually
from prometheus_text import Figures, Malformed, parse
from raw import CLOSE, DEADLINE, TEXT, close_body, frame, head


def figures(server):
    status, headers, text = server.admin("GET", "/metrics")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Figures(text)


# --- the reader ----------------------------------------------------------------------------------


GOOD = ('# HELP a_total Help, with \\\\ and \\n.\n# TYPE a_total counter\na_total{x="1",y="a\\"b"} 1\na_total 2\n'
        '# HELP b Help.\n# TYPE b gauge\nb -1.5e3\n'
        '# HELP h Help.\n# TYPE h histogram\nh_bucket{le="0.5"} 1\nh_bucket{le="+Inf"} 3\nh_sum 2.5\nh_count 3\n')


def test_the_reader_reads_what_is_right():
    got = Figures(GOOD)
    assert got.get("a_total", x="1", y='a"b') == 1 and got.total("a_total") == 3
    assert got.get("b") == -1500 and got.get("h_bucket", le="+Inf") == 3


@pytest.mark.parametrize("before,after", [
    ("a_total 2\n", "a_total 2"), ("a_total 2", "a_total  2"), ("a_total 2", "a_total two"), ("a_total 2", "a_total 2 "),
    ("a_total 2", "a_total -2"), ("a_total 2", 'a_total{x="1",y="a\\"b"} 2'), ("a_total 2", "c 2"), ("b -1.5e3", "b 1,5"),
    ('x="1",', 'x="1",,'), ('x="1"', "x=1"), ('x="1"', 'x="1'), ('x="1"', 'x="\\t"'), ('y="a', 'x="a'), ("{x", "{1x"),
    ("# TYPE b gauge\n", ""), ("# HELP b Help.\n", ""), ("# HELP b Help.", "# HELP b "), ("# TYPE b gauge", "# TYPE b number"),
    ("# TYPE b gauge", "# TYPE b counter"), ("# HELP b", "# HELP a_total"), ("b -1.5e3\n", ""), ("b -1.5e3", "b_ms 1"),
    ('le="+Inf"} 3', 'le="+Inf"} 4'), ('le="0.5"} 1', 'le="0.5"} 4'), ("h_sum 2.5\n", ""), ("h_count 3\n", ""),
    ('h_bucket{le="+Inf"} 3\n', ""), ("h_sum 2.5", "h_sum -1"), ("b -1.5e3\n", "b -1.5e3\n\n"), ("b -1.5e3", "b -1.5e3\r"),
    ("counter\n", "counter\n# a comment\n"), ("h_count 3\n", "h_count 3\nb 1\n")])
def test_the_reader_refuses_what_is_wrong(before, after):
    assert before in GOOD
    broken = GOOD.replace(before, after, 1) if (before, after) != ("a_total 2\n", "a_total 2") else GOOD[:-1]
    with pytest.raises(Malformed):
        parse(broken)


# --- the format ----------------------------------------------------------------------------------


def work(server):
    """A bit of everything."""
    clients = [server.client() for _ in range(3)]
    for conn in clients:
        conn.subscribe("t")
    for i in range(5):
        clients[0].publish("t", i)
    for conn in clients:
        assert [conn.recv_text() for _ in range(5)] == list("01234")
    return clients


@pytest.mark.parametrize("workers", [1, 3])
def test_it_is_of_the_format(start_server, workers):
    server = start_server(workers=workers)
    figures(server)
    work(server)
    figures(server)


def test_it_is_of_the_format_whatever_language_the_server_speaks(start_server):
    names = subprocess.run(["locale", "-a"], capture_output=True, text=True).stdout.split() if shutil.which("locale") else []
    found = [n for n in names if re.match(r"(de|fr|es)_", n)]
    figures(start_server(env={"LC_ALL": found[0] if found else "C"}))


def test_promtool_has_nothing_to_say(server):
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip("no promtool here: Debian has it in the package prometheus")
    work(server)
    done = subprocess.run([promtool, "check", "metrics"], input=figures(server).text, capture_output=True,
                          timeout=DEADLINE)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_every_row_of_the_table_is_there(server):
    got = figures(server)
    table = (TOP / "src/base/metrics.def").read_text()
    for name in re.findall(r"^METRIC\((\w+)", table, re.M):
        got.get(f"hermes_{name}")
    for name in re.findall(r"^METRIC_EACH\((\w+)", table, re.M):
        assert [got.get(f"hermes_{name}", worker=i) for i in range(2)]
    rows = re.findall(r'^METRIC_IN\(\w+, \w+, (\w+), "(\w+)=\\"(\w+)\\""', table, re.M)
    assert len(rows) > 30
    for family, label, value in rows:
        got.get(f"hermes_{family}", **{label: value})
    assert len(got.families) == len(set(got.families))


def test_what_others_build_dashboards_on_keeps_its_name(server):
    """A name that is changed here breaks somebody's alert."""
    names = set(figures(server).families)
    assert names >= {
        "hermes_connections", "hermes_messages_published_total", "hermes_deliveries_total", "hermes_bytes_sent_total",
        "hermes_bytes_received_total", "hermes_dropped_messages_total", "hermes_closes_total", "hermes_handshake_failures_total",
        "hermes_loop_lag_seconds", "hermes_mailbox_bytes", "hermes_publish_to_write_seconds", "hermes_log_bytes",
        "hermes_history_bytes", "hermes_registry_mismatches_total", "hermes_build_info", "process_resident_memory_bytes",
        "process_open_fds", "process_cpu_seconds_total", "process_start_time_seconds"}


# --- the figures ---------------------------------------------------------------------------------


def test_messages_and_deliveries_are_counted(server):
    before = figures(server)
    clients = work(server)
    got = figures(server)
    assert got.get("hermes_messages_published_total") - before.get("hermes_messages_published_total") == 5
    assert got.get("hermes_deliveries_total") - before.get("hermes_deliveries_total") == 15
    assert got.get("hermes_connections") == 3 and got.get("hermes_sessions") == 3
    assert got.get("hermes_subscriptions") == 3 and got.get("hermes_topics") == 1
    assert got.get("hermes_commands_total") == 8
    for conn in clients:
        conn.send(frame(CLOSE, close_body(1000)))
        conn.expect_close(1000)
    after = eventually(lambda: (f := figures(server)).get("hermes_connections") == 0 and f, "they are gone")
    assert after.get("hermes_closes_total", reason="normal") == 3
    assert after.get("hermes_topics") == 0 and after.get("hermes_subscriptions") == 0


def test_what_the_api_publishes_is_counted_with_the_rest(server):
    listener = server.client()
    listener.subscribe("t")
    for i in range(7):
        server.api("POST", "/api/publish", {"topic": "t", "data": i})
        assert listener.recv_text() == str(i)
    got = figures(server)
    assert got.get("hermes_messages_published_total") == 7 and got.get("hermes_deliveries_total") == 7
    assert got.get("hermes_admin_requests_total") == 7
    assert got.get("hermes_admin_connections") == 1


def test_bytes_are_those_on_the_wire(server):
    conn = server.client()
    conn.subscribe("t")
    conn.publish("nobody", 1)
    # What is sent is counted just after it; what came before this message is then.
    before = eventually(lambda: (f := figures(server)).get("hermes_messages_published_total") == 1 and f)
    payload = "x" * 5000
    conn.publish("t", f'"{payload}"')
    conn.recv_text()

    def grown(name):
        return figures(server).get(name) - before.get(name)

    sent = eventually(lambda: grown("hermes_bytes_sent_total"), "the count of what was sent")
    assert sent == 4 + 5002
    assert grown("hermes_bytes_received_total") == 8 + len('{"topic":"t","data":""}') + 5000


@pytest.mark.parametrize("how,cause", [("nothing of HTTP", "request"), ("plain", "request"), ("origin", "origin")])
def test_handshakes_that_fail_are_counted_by_cause(start_server, how, cause):
    server = start_server(allowed_origins="https://good.example")
    conn = server.raw()
    if how == "nothing of HTTP":
        conn.send(b"nothing of it\r\n\r\n")
    elif how == "plain":
        conn.send(head(version="7"))
    else:
        conn.send(head(extra=["Origin: https://evil.example"]))
    assert conn.response().status >= 400
    got = eventually(lambda: (f := figures(server).by("hermes_handshake_failures_total", "cause"))[cause] and f)
    assert got[cause] == 1 and sum(got.values()) == 1


def test_closes_are_counted_by_reason(start_server):
    server = start_server(max_message_bytes=1000)
    for bytes, code, reason in ((frame(TEXT, b"\xff"), 1007, "not_utf8"), (frame(3), 1002, "protocol"),
                                (frame(TEXT, b"x" * 2000), 1009, "too_large")):
        conn = server.client()
        conn.send(bytes)
        conn.expect_close(code)
    conn = server.client()
    conn.reset()

    def counted():
        got = figures(server).by("hermes_closes_total", "reason")
        return {name: n for name, n in got.items() if n} == {"not_utf8": 1, "protocol": 1, "too_large": 1, "lost": 1}

    eventually(counted, "four reasons")


def test_what_is_dropped_is_counted_by_policy(start_server):
    server = start_server(max_backlog_bytes="4m", workers=1)
    slow = server.client2(rcvbuf=4096)
    slow.subscribe("t", policy="latest")
    publisher = server.client()
    for i in range(60):
        publisher.publish("t", '"%s"' % ("x" * 500_000))
    publisher.fence()
    got = eventually(lambda: (f := figures(server)).get("hermes_dropped_messages_total", policy="latest") > 0 and f)
    assert got.get("hermes_dropped_messages_total", policy="drop_oldest") == 0
    assert got.get("hermes_log_bytes", worker=0) > 0
    assert got.get("hermes_blocked_sessions") == 1


def test_history_is_told_in_bytes(start_server):
    server = start_server(rules=[{"match": "t:>", "history": 100}])
    assert figures(server).get("hermes_history_bytes") == 0
    server.client().say('{"topic":"t:1","data":"%s"}' % ("x" * 10000))
    eventually(lambda: figures(server).get("hermes_history_bytes") > 10000)
    assert figures(server).get("hermes_topics") == 1


def test_the_time_from_publish_to_write_is_sampled(server):
    listener, publisher = server.client(), server.client()
    listener.subscribe("t")
    start = time.monotonic()

    def sampled():
        publisher.publish("t", 1)
        listener.recv_text()
        return figures(server).get("hermes_publish_to_write_seconds_count") >= 3

    eventually(sampled, "three samples")
    got = figures(server)
    # Every one of them was written before the listener had it, so all of them together took no longer
    # than this test has.
    lasted = time.monotonic() - start
    count = got.get("hermes_publish_to_write_seconds_count")
    assert lasted > 10 or got.get("hermes_publish_to_write_seconds_bucket", le="10.0") == count
    assert 0 < got.get("hermes_publish_to_write_seconds_sum") <= lasted


def test_a_message_to_nobody_is_no_sample(start_server):
    server = start_server(workers=1)
    conn = server.client()
    for _ in range(20):
        conn.publish("nobody", 1)
        conn.fence()
    assert figures(server).get("hermes_messages_published_total") >= 20
    # The fence is a subscription of its own, to which nothing is published.
    assert figures(server).get("hermes_publish_to_write_seconds_count") <= figures(server).get("hermes_deliveries_total")


def lags(server):
    return figures(server).total("hermes_loop_lag_seconds_count")


def test_lag_is_taken_while_a_worker_works_and_not_while_it_rests(start_server):
    server = start_server(workers=1)
    conn = server.client()
    conn.subscribe("t")

    def grown():
        conn.publish("t", 1)
        conn.recv_text()
        return lags(server) >= 5

    eventually(grown, "five beats")
    # With nothing to do it comes to rest, for looking at it is no work of its.
    end = time.monotonic() + DEADLINE
    before = -1
    while (now := lags(server)) != before:
        assert time.monotonic() < end, "the worker does not come to rest"
        before = now
        time.sleep(0.5)


def test_a_worker_that_is_held_up_shows_it(start_server):
    """Stopped and continued: what should have run meanwhile ran late, by as much as it was stopped."""
    server = start_server(workers=1)
    conn = server.client()
    conn.subscribe("t")

    def late(got):
        return got.total("hermes_loop_lag_seconds_count") - got.get("hermes_loop_lag_seconds_bucket", worker=0, le="0.25")

    def held_up():
        conn.publish("t", 1)
        conn.recv_text()
        before = late(figures(server))
        server.kill(signal.SIGSTOP)
        time.sleep(0.6)
        server.kill(signal.SIGCONT)
        # What was due at 0.1, 0.2 and 0.3 seconds was late by more than a quarter of one.
        return eventually(lambda: (n := late(figures(server)) - before) and n) >= 2

    eventually(held_up, "lag")


def test_the_process_is_the_server(server):
    got = figures(server)
    with open(f"/proc/{server.pid}/statm") as statm:
        resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    assert 0.5 < got.get("process_resident_memory_bytes") / resident < 2
    assert got.get("process_virtual_memory_bytes") > got.get("process_resident_memory_bytes")
    fds = len(os.listdir(f"/proc/{server.pid}/fd"))
    assert abs(got.get("process_open_fds") - fds) <= 2  # one is the connection that asks
    assert got.get("process_max_fds") >= fds
    assert abs(time.time() - got.get("process_start_time_seconds")) < 60 + DEADLINE
    assert got.get("process_cpu_seconds_total") >= 0
    assert got.get("hermes_workers") == 2
    assert got.total("hermes_build_info") == 1


def test_counters_only_grow_while_the_server_is_busy(server):
    before = figures(server)
    for _ in range(30):
        for conn in work(server):
            conn.drop()
        now = figures(server)
        for name, family in before.families.items():
            if family.type == "counter" or family.type == "histogram":
                for key, value in family.samples.items():
                    assert now.families[name].samples[key] >= value, key
        before = now


def test_the_status_agrees_with_the_figures(server):
    clients = work(server)

    def at_rest():
        """What is sent is counted just after it."""
        before = figures(server).get("hermes_bytes_sent_total")
        _, status = server.api("GET", "/api/status")
        got = figures(server)
        return before == got.get("hermes_bytes_sent_total") and (status, got)

    status, got = eventually(at_rest)
    assert status["totals"]["published"] == got.get("hermes_messages_published_total") == 5
    assert status["totals"]["deliveries"] == 15 and status["totals"]["closed"] == 0
    assert status["totals"]["bytes_sent"] == got.get("hermes_bytes_sent_total")
    assert status["sessions"] == status["connections"] == len(clients)
    assert status["topics"] == 1 and status["patterns"] == 0 and status["subscriptions"] == 3
    assert status["public"] == {"port": server.port, "tls": False, "tls_port": None}
    assert status["ready"] is True and status["draining"] is False
    assert [w["index"] for w in status["workers"]] == [0, 1]
    assert sum(w["sessions"] for w in status["workers"]) == 3
    for worker in status["workers"]:
        assert 0 <= worker["busy"] <= 1 and worker["loop_lag_ms"] >= 0
    assert status["memory"]["rss_bytes"] > 1 << 20


def test_a_worker_that_works_is_busy(start_server):
    server = start_server(workers=1)
    conn = server.client()
    conn.subscribe("t")
    server.api("GET", "/api/status")

    def busy():
        for _ in range(50):
            conn.send(b"".join(frame(TEXT, '{"topic":"t","data":%d}' % i) for i in range(100)))
            for _ in range(100):
                conn.recv_text()
        return server.api("GET", "/api/status")[1]["workers"][0]["busy"] > 0.01

    eventually(busy, "busy")
