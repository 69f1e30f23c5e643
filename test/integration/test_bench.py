"""hermes-bench against a real server, where all must be well, and against a broker that does wrong,
where each wrong must be in the report and in the exit code."""

import json
import os
import pathlib
import pty
import signal
import socket
import subprocess

import pytest

from fake_broker import FakeBroker, pause
from hermes_fixtures import HERMES, clean_environment, eventually
from raw import DEADLINE

BENCH = pathlib.Path(os.environ.get("HERMES_BUILD", HERMES.parent)) / "hermes-bench"
FAULTS = ("lost", "doubled", "reordered", "disordered", "damaged", "refused", "closed", "unconnected",
          "misnumbered", "unrecovered")
# 100 messages. What is missing at the end costs the patience, elsewhere it may be long.
SMALL = ("--warmup", "0", "--seconds", "0.1", "--rate", "1000", "--payload", "80", "--patience", "20")
TAIL = (*SMALL[:-1], "3")
SENT = 100


@pytest.fixture
def bench(tmp_path):
    """Runs it; answers with the exit code, the report (None: none was written), and the errors."""

    def run(url, *words, code=0):
        file = tmp_path / "report.json"
        file.unlink(missing_ok=True)
        words = [str(w) for w in words]
        if words and not words[0].startswith("--"):
            words += ["--url", url, "--json", str(file)]
        done = subprocess.run([str(BENCH), *words], env=clean_environment(), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=4 * DEADLINE)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        done.report = json.loads(file.read_text()) if file.exists() else None
        return done

    return run


def faults(done, **expected):
    found = {name: done.report["faults"][name] for name in FAULTS}
    assert found == {**dict.fromkeys(FAULTS, 0), **expected}, (found, done.report["notes"])
    assert done.report["clean"] == (not expected)


# ---- a broker that does well ----


def test_an_honest_broker_passes_and_every_delivery_is_counted(bench):
    with FakeBroker() as broker:
        done = bench(broker.url, "fanout", "--subscribers", 4, "--publishers", 2, *SMALL)
        faults(done)
        assert done.report["totals"]["published"] == SENT
        assert done.report["totals"]["deliveries"] == 4 * SENT
        assert done.report["latency"]["count"] == 4 * SENT
        assert broker.published == SENT


def test_source_addresses_take_turns(bench):
    with FakeBroker() as broker:
        bench(broker.url, "fanout", "--subscribers", 4, "--source", "127.0.0.2,127.0.0.3", *SMALL)
        assert {one.peer for one in broker.connections} == {"127.0.0.2", "127.0.0.3"}


# ---- and what may go wrong ----


def test_lost_messages_are_counted(bench):
    def deliver(one, n, data):
        return [] if one.order == 1 and n % 10 == 5 else [data]

    with FakeBroker(deliver) as broker:
        done = bench(broker.url, "fanout", "--subscribers", 3, *SMALL, code=1)
        faults(done, lost=SENT // 10)
        assert done.report["totals"]["deliveries"] == 3 * SENT - SENT // 10


def test_the_last_message_is_missed_too(bench):
    with FakeBroker(lambda one, n, data: [] if one.order == 0 and n == SENT - 1 else [data]) as broker:
        faults(bench(broker.url, "fanout", "--subscribers", 2, *TAIL, code=1), lost=1)


def test_a_subscriber_that_gets_nothing_is_missed_too(bench):
    with FakeBroker(lambda one, n, data: [] if one.order == 0 else [data]) as broker:
        faults(bench(broker.url, "fanout", "--subscribers", 2, *TAIL, code=1), lost=SENT)


def test_doubled_messages_are_counted(bench):
    def deliver(one, n, data):
        return [data, data] if one.order == 0 and n in (0, 7, SENT - 1) else [data]

    with FakeBroker(deliver) as broker:
        done = bench(broker.url, "fanout", "--subscribers", 2, *SMALL, code=1)
        faults(done, doubled=3)
        assert done.report["totals"]["deliveries"] == 2 * SENT


def swap(first):
    """Lets the subscriber 0 have the deliveries `first` and the one behind it the wrong way round."""

    def deliver(one, n, data):
        if one.order != 0 or n not in (first, first + 1):
            return [data]
        if n == first:
            one.held = data
            return []
        return [data, one.held]

    return deliver


def test_reordered_messages_are_counted(bench):
    with FakeBroker(swap(20)) as broker:
        done = bench(broker.url, "fanout", "--subscribers", 3, *SMALL, code=1)
        faults(done, reordered=1, disordered=1)


def test_another_order_among_publishers_is_seen_where_each_ones_own_is_right(bench):
    publishers = []

    def on_publish(topic, data):
        publishers.append(data[8:14])

    def deliver(one, n, data):
        # Where the two next to each other are of different publishers; from 20 on.
        if one.order != 2 or n < 20 or one.held == "done":
            return [data]
        if one.held is None:
            one.held = data
            return []
        if one.held[9:15] != data[9:15]:
            both, one.held = [data, one.held], "done"
            return both
        both, one.held = [one.held], data
        return both

    with FakeBroker(deliver, on_publish=on_publish) as broker:
        done = bench(broker.url, "fanout", "--subscribers", 5, "--publishers", 2, *SMALL, code=1)
        assert len(set(publishers)) == 2
        faults(done, disordered=1)


def test_a_changed_byte_is_seen(bench):
    def deliver(one, n, data):
        return [data[:60] + chr(ord(data[60]) ^ 1) + data[61:]] if one.order == 0 and n == 3 else [data]

    with FakeBroker(deliver) as broker:
        faults(bench(broker.url, "fanout", "--subscribers", 2, *SMALL, code=1), damaged=1)


def test_a_message_that_is_not_to_be_recognized_is_damaged_and_missing(bench):
    def deliver(one, n, data):
        return ['"something else"'] if one.order == 0 and n == 3 else [data]

    with FakeBroker(deliver) as broker:
        faults(bench(broker.url, "fanout", "--subscribers", 2, *SMALL, code=1), damaged=1, lost=1)


def test_a_message_of_a_topic_without_subscription_is_damage(bench):
    strays = []

    def deliver(one, n, data):
        if n == 3 and not strays:
            strays.append(one)
            broker.subscribers[one.order - 1].send(data)
        return [data]

    with FakeBroker(deliver) as broker:
        faults(bench(broker.url, "pairs", "--pairs", 2, *SMALL, code=1), damaged=1)


def test_a_closed_connection_is_a_fault_and_what_it_misses_is_not_lost(bench):
    def deliver(one, n, data):
        if one.order == 1 and n == 50:
            one.close(1011)
        return [data] if one.order != 1 or n < 50 else []

    with FakeBroker(deliver) as broker:
        done = bench(broker.url, "fanout", "--subscribers", 3, *SMALL, code=1)
        faults(done, closed=1)
        assert any("1011" in note for note in done.report["notes"])
        assert done.report["totals"]["deliveries"] == 2 * SENT + 50


def test_a_closed_publisher_is_a_fault(bench):
    def on_publish(topic, data):
        if broker.published == 30:
            broker.connections[-1].close(4029)

    with FakeBroker(on_publish=on_publish) as broker:
        faults(bench(broker.url, "fanout", "--subscribers", 2, *SMALL, code=1), closed=1)


def test_what_a_broken_publisher_had_under_way_is_not_lost(bench):
    """Nobody knows what of it had been read."""

    def on_publish(topic, data):
        if broker.published == 30:
            pause(0.2)
            broker.connections[-1].drop()

    with FakeBroker(on_publish=on_publish) as broker:
        faults(bench(broker.url, "fanout", "--subscribers", 2, *SMALL, code=1), closed=1)


def test_refused_connections_are_counted(bench):
    # Number 0 is the first look whether anybody is there.
    with FakeBroker(refuse=lambda number: number in (1, 3)) as broker:
        done = bench(broker.url, "fanout", "--subscribers", 4, *SMALL, code=1)
        faults(done, unconnected=2)
        assert done.report["totals"]["deliveries"] == 2 * SENT
        assert any("503" in note for note in done.report["notes"])


def test_a_refused_subscription_is_counted(bench):
    refusal = {"type": "error", "message": "Too many subscriptions on this connection."}
    with FakeBroker(answer=lambda one, topic: refusal if one.number == 2 else True) as broker:
        done = bench(broker.url, "fanout", "--subscribers", 3, *SMALL, code=1)
        faults(done, refused=1)
        assert any(refusal["message"] in note for note in done.report["notes"])


def test_an_answer_that_never_comes_ends_the_waiting(bench):
    with FakeBroker(answer=lambda one, topic: one.number != 2) as broker:
        done = bench(broker.url, "fanout", "--subscribers", 3, *SMALL[:-1], "0.5", code=1)
        faults(done, unconnected=1)


# ---- a window ----


def test_a_window_is_refilled_when_all_of_it_has_arrived(bench):
    ahead = []

    def on_publish(topic, data):
        # Nothing is sent before the batch before it is everywhere.
        number = int(data[14:24], 16)
        least = min(one.deliveries for one in broker.subscribers)
        ahead.append(number - least)

    with FakeBroker(on_publish=on_publish) as broker:
        done = bench(broker.url, "fanout", "--subscribers", 3, "--threads", 2, "--window", 8, "--warmup", 0,
                     "--seconds", 0.5, "--payload", 80)
        faults(done)
        assert done.report["saturating"]
        assert max(ahead) <= 8
        assert done.report["totals"]["deliveries"] == 3 * done.report["totals"]["published"] > 0
        assert done.report["totals"]["published"] % 8 == 0


def test_a_window_that_never_fills_ends_the_run(bench):
    with FakeBroker(lambda one, n, data: [] if one.order == 1 and n == 21 else [data]) as broker:
        done = bench(broker.url, "fanout", "--subscribers", 2, "--window", 8, "--warmup", 0, "--seconds", 30,
                     "--payload", 80, "--patience", 3, code=1)
        faults(done, lost=1)
        assert done.report["totals"]["published"] == 24


# ---- latency ----


def test_a_stall_is_in_the_latency_of_all_it_delays(bench):
    """100 messages are due while the broker stands still for half a second: those due in the first
    0.4 s of that take 0.1 s at least, though only one of them was under way when it began."""

    def on_publish(topic, data):
        if broker.published == 20:
            pause(0.5)

    with FakeBroker(on_publish=on_publish) as broker:
        done = bench(broker.url, "fanout", "--subscribers", 1, "--warmup", 0, "--seconds", 1, "--rate", 200,
                     "--payload", 80)
        late = sum(n for highest, n in done.report["latency"]["buckets"] if highest > 100000)
        assert late >= 75
        assert done.report["latency"]["max"] >= 450000


def test_what_could_not_even_be_sent_in_time_is_in_the_latency_too(bench):
    """40 messages of 1 MiB are due a second while the broker reads nothing for two. The tool's queue
    and the sockets' take some 20 of them; all that are due in the first second take one at least."""

    def on_publish(topic, data):
        if broker.published == 3:
            pause(2)

    with FakeBroker(on_publish=on_publish) as broker:
        done = bench(broker.url, "fanout", "--subscribers", 1, "--warmup", 0, "--seconds", 3.5, "--rate", 40,
                     "--payload", "1m", "--patience", 20)
        late = sum(n for highest, n in done.report["latency"]["buckets"] if highest > 1000000)
        assert late + done.report.get("unsent", 0) >= 35
        faults(done)


def test_a_missed_objective_is_exit_code_1(bench):
    with FakeBroker(on_publish=lambda topic, data: pause(0.01)) as broker:
        arguments = ("fanout", "--subscribers", 1, "--warmup", 0, "--seconds", 0.3, "--rate", 20, "--payload", 80)
        done = bench(broker.url, *arguments, "--slo", "p50=5ms", code=1)
        faults(done)
        assert any("p50=5ms" in note for note in done.report["notes"])
        bench(broker.url, *arguments, "--slo", "p50=60s")


def test_the_search_ends_below_the_rate_that_breaks_the_broker(bench):
    """This one cuts subscribers off when messages are due faster than 300 a second."""
    last = []

    def deliver(one, n, data):
        moment = int(data[25:41], 16)
        gap = moment - last[-1] if last else 1e9
        last.append(moment)
        if 0 < gap < 1e9 / 300 * 0.999 and n > 3:
            one.close(4008)
            return []
        return [data]

    with FakeBroker(deliver) as broker:
        done = bench(broker.url, "fanout", "--subscribers", 1, "--find-knee", "--slo", "max=60s", "--rate", 100,
                     "--payload", 80, "--seconds", 0.2, "--warmup", 0)
        faults(done)
        steps = done.report["steps"]
        assert steps and not any(step["held"] for step in steps if step["rate"] > 301)
        assert 0 < done.report["knee"] <= 301
        assert any("too slow" in step.get("why", "") for step in steps)


def test_what_a_rate_beyond_the_server_leaves_unsent_is_told_and_misses_the_objective(bench):
    """200,000 messages of 64 KiB, of which the queue and the sockets hold some hundred."""
    with FakeBroker() as broker:
        done = bench(broker.url, "fanout", "--subscribers", 1, "--rate", 1e6, "--seconds", 0.2, "--warmup", 0,
                     "--payload", "64k", "--slo", "max=3600s", code=1)
        faults(done)
        assert done.report["unsent"] + done.report["totals"]["published"] == 200000
        assert any("max=3600s was missed" in note and "never sent" in note for note in done.report["notes"])


def test_a_message_as_large_as_the_queue_can_be_sent(bench):
    with FakeBroker() as broker:
        done = bench(broker.url, "fanout", "--subscribers", 1, "--rate", 10, "--seconds", 0.1, "--warmup", 0,
                     "--payload", "16m", "--patience", 30)
        faults(done)
        assert done.report["totals"]["deliveries"] == 1


def test_points_count_from_the_start_of_the_measurement(bench):
    with FakeBroker() as broker:
        done = bench(broker.url, "fanout", "--subscribers", 3, "--connect-rate", 10, "--warmup", 0.3, *SMALL[2:])
        at = [point["at_seconds"] for point in done.report["points"]]
        assert at == sorted(at) and at[0] < 0 < at[-1]
        assert "pid" not in done.report["settings"]


def test_of_a_server_that_dies_no_figures_are_made_up(bench):
    process = subprocess.Popen(["sleep", "600"])

    def on_publish(topic, data):
        if broker.published == 50:
            process.kill()
            process.wait()

    try:
        with FakeBroker(on_publish=on_publish) as broker:
            done = bench(broker.url, "fanout", "--subscribers", 1, *SMALL, "--pid", process.pid)
    finally:
        process.kill()
        process.wait()
    assert not {"cpu", "cpu_per_delivery", "rss_after"} & set(done.report["server"])
    assert any("gone before the end" in note for note in done.report["notes"])


# ---- ending early ----


SOAK = ("soak", "--topics", 4, "--per-subscriber", 2, "--pairs", 1, "--connections", 1)


@pytest.mark.parametrize("words", [("fanout", "--rate", 100), ("fanout", "--window", 4, "--threads", 2),
                                   (*SOAK, "--rate", 100)], ids=["rate", "window", "soak"])
def test_a_run_ends_when_nobody_is_left(bench, words):
    def on_publish(topic, data):
        if broker.published == 30:
            for one in broker.connections:
                one.drop()

    with FakeBroker(on_publish=on_publish) as broker:
        done = bench(broker.url, *words, "--subscribers", 4, "--publishers", 2, "--warmup", 0, "--seconds", 3600, code=1)
        assert done.report["faults"]["closed"] >= 4 and done.report["faults"]["lost"] == 0
        assert sum("was gone after" in note for note in done.report["notes"]) == 1


def interrupted(broker, words, signals, tmp_path):
    file = tmp_path / "report.json"
    process = subprocess.Popen([str(BENCH), *words, "--url", broker.url, "--json", str(file)],
                               env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        signals(process)
        out, _ = process.communicate(timeout=2 * DEADLINE)
    finally:
        process.kill()
        process.wait()
    return process.returncode, out.decode(), json.loads(file.read_text()) if file.exists() else None


def test_an_interrupt_ends_the_run_with_a_report(tmp_path):
    def signals(process):
        broker.wait_published(50)
        process.send_signal(signal.SIGINT)

    with FakeBroker() as broker:
        words = ["fanout", "--subscribers", "2", "--warmup", "0", "--seconds", "3600", "--rate", "200"]
        code, out, report = interrupted(broker, words, signals, tmp_path)
        assert code == 130
        assert report["clean"]
        assert report["totals"]["published"] >= 50
        assert report["totals"]["deliveries"] == 2 * report["totals"]["published"]
        assert "latency" in out


def test_an_interrupt_while_connecting_is_no_fault(tmp_path):
    def signals(process):
        eventually(lambda: len(broker.connections) > 2)
        process.send_signal(signal.SIGINT)

    with FakeBroker(answer=lambda one, topic: False) as broker:
        code, _, report = interrupted(broker, ["fanout", "--subscribers", "2", "--patience", "60"], signals, tmp_path)
        assert code == 130
        assert report["clean"], report["faults"]


def test_what_comes_slowly_is_waited_for_in_a_long_run_too(tmp_path):
    """Some 50 are under way when it is interrupted, one comes each quarter of a second, which is longer
    in all than the patience."""

    def on_publish(topic, data):
        if broker.published >= 50:
            pause(0.25)

    def signals(process):
        broker.wait_published(52)
        process.send_signal(signal.SIGINT)

    with FakeBroker(on_publish=on_publish) as broker:
        words = ["fanout", "--subscribers", "1", "--warmup", "0", "--seconds", "48h", "--rate", "100", "--patience", "4"]
        code, _, report = interrupted(broker, words, signals, tmp_path)
        assert code == 130
        assert report["clean"], (report["faults"], report["notes"])


def test_a_second_interrupt_ends_it_at_once(tmp_path):
    def signals(process):
        broker.wait_published(50)
        process.send_signal(signal.SIGINT)
        # It still waits for what was published, since it has the patience, but nothing more is sent.
        eventually(lambda: not int(status(process, "SigBlk"), 16) & 1 << signal.SIGINT - 1)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)

    def status(process, field):
        with open(f"/proc/{process.pid}/status") as lines:
            return next(line.split()[1] for line in lines if line.startswith(field + ":"))

    with FakeBroker(lambda one, n, data: []) as broker:
        words = ["fanout", "--subscribers", "2", "--warmup", "0", "--seconds", "3600", "--rate", "200",
                 "--patience", "3600"]
        code, out, report = interrupted(broker, words, signals, tmp_path)
        assert (code, out, report) == (130, "", None)


# ---- what cannot run ----


def one_line(done, *words):
    assert done.stderr.startswith("hermes-bench: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_nobody_listening_is_one_line(bench):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        done = bench(f"ws://127.0.0.1:{port}", "fanout", "--quiet", code=2)
        one_line(done, str(port), "refused")


def test_somebody_else_listening_is_one_line(bench):
    with FakeBroker(refuse=lambda number: True) as broker:
        one_line(bench(broker.url, "fanout", "--quiet", code=2), "503")


def test_a_wrong_value_is_one_line(bench):
    one_line(bench("ws://127.0.0.1:1", "fanout", "--rate", "fast", code=2), "--rate", "fast")


def test_a_process_that_is_not_there_is_one_line(bench):
    with FakeBroker() as broker:
        one_line(bench(broker.url, "fanout", "--quiet", "--pid", 2**22 + 1, code=2), "--pid")


def test_a_report_that_cannot_be_written_is_told(bench, tmp_path):
    with FakeBroker() as broker:
        done = bench(broker.url, "fanout", "--quiet", "--subscribers", 1, *SMALL, "--html",
                     tmp_path / "none" / "page.html", code=2)
        one_line(done, "--html")
        assert not broker.connections, "not even tried"


def test_a_table_that_cannot_be_printed_is_told():
    with FakeBroker() as broker, open("/dev/full", "w") as full:
        words = [str(BENCH), "fanout", "--subscribers", "1", "--url", broker.url, *SMALL]
        done = subprocess.run(words, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=full,
                              stderr=subprocess.PIPE, text=True, timeout=DEADLINE)
        assert done.returncode == 2
        assert "hermes-bench: the table could not be printed: No space left" in done.stderr


def test_without_descriptors_to_print_to_it_runs_all_the_same(tmp_path):
    file = tmp_path / "report.json"
    with FakeBroker() as broker:
        words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", str(BENCH), "fanout", "--subscribers", "1",
                 "--url", broker.url, "--json", str(file), "--quiet", *SMALL]
        assert subprocess.run(words, env=clean_environment(), timeout=DEADLINE).returncode == 0
    assert json.loads(file.read_text())["clean"]


# ---- forms ----


def test_two_reports_are_compared(bench, tmp_path):
    with FakeBroker() as broker:
        for name in ("a", "b"):
            done = bench(broker.url, "fanout", "--subscribers", 1, *SMALL)
            (tmp_path / f"{name}.json").write_text(json.dumps(done.report))
    done = bench(None, "--compare", tmp_path / "a.json", tmp_path / "b.json")
    assert "latency" in done.stdout or "p99" in done.stdout
    one_line(bench(None, "--compare", tmp_path / "a.json", tmp_path / "c.json", code=2), "c.json")


def test_a_page_is_written(bench, tmp_path):
    page = tmp_path / "page.html"
    with FakeBroker() as broker:
        bench(broker.url, "fanout", "--subscribers", 1, *SMALL, "--html", page)
    assert "<svg" in page.read_text()


def test_quiet_prints_nothing(bench):
    with FakeBroker() as broker:
        done = bench(broker.url, "fanout", "--subscribers", 1, *SMALL, "--quiet")
        assert (done.stdout, done.stderr) == ("", "")


def test_progress_is_shown_on_a_terminal_only(bench):
    with FakeBroker() as broker:
        done = bench(broker.url, "fanout", "--subscribers", 1, *SMALL)
        assert "\x1b" not in done.stderr
        ours, theirs = pty.openpty()
        words = [str(BENCH), "fanout", "--subscribers", "1", "--url", broker.url, *SMALL]
        process = subprocess.Popen(words, env=clean_environment(), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:  # how a terminal tells that nobody is there any more
            pass
        os.close(ours)
        assert process.wait(DEADLINE) == 0
        assert b"\rmeasuring" in shown and b" open" in shown
        assert shown.rstrip().endswith(b"\x1b[K")


# ---- a real server ----


@pytest.mark.parametrize("words", [
    ("fanout", "--subscribers", 50, "--publishers", 3, "--rate", 200),
    ("fanout", "--subscribers", 50, "--publishers", 3, "--window", 16),
    ("topics", "--topics", 40, "--subscribers", 30, "--per-subscriber", 7, "--publishers", 3, "--rate", 400),
    ("topics", "--topics", 40, "--subscribers", 30, "--per-subscriber", 7, "--publishers", 3, "--window", 50),
    ("pairs", "--pairs", 20, "--rate", 400),
    ("pairs", "--pairs", 20, "--window", 3),
], ids=lambda words: f"{words[0]}{words[-2]}")
@pytest.mark.parametrize("threads", [1, 3])
def test_loads_pass_on_hermes(bench, server, words, threads):
    done = bench(server.url, *words, "--threads", threads, "--warmup", 0.05, "--seconds", 0.1, "--pid", server.pid)
    faults(done)
    totals, rate = done.report["totals"], done.report["settings"].get("rate")
    subscribers = {"fanout": 50, "topics": None, "pairs": 1}[words[0]]
    if subscribers:
        assert totals["deliveries"] == subscribers * totals["published"] > 0
    else:
        assert totals["deliveries"] >= 5 * totals["published"] > 0
    if rate:
        assert totals["published"] == rate / 10
    assert done.report["server"]["pid"] == server.pid
    assert done.report["points"]


def test_connections_are_measured_on_hermes(bench, server):
    for subscribe in ("none", "shared", "own"):
        done = bench(server.url, "connect", "--connections", 300, "--connect-rate", 0, "--seconds", 0.05,
                     "--subscribe", subscribe, "--pid", server.pid, "--threads", 2)
        faults(done)
        assert done.report["connect"]["count"] == 300
        assert done.report["server"]["connections"] == 300
        eventually(lambda: not server.topic_counts("idle-"), "nobody left behind")


def test_connections_by_schedule_do_not_come_sooner(bench, server):
    done = bench(server.url, "connect", "--connections", 50, "--connect-rate", 100, "--seconds", 0.05)
    assert done.report["measured_seconds"] >= 0.49


def test_churn_passes_on_hermes(bench, server):
    done = bench(server.url, "churn", "--connections", 8, "--threads", 2, "--seconds", 0.5, "--warmup", 0.1)
    faults(done)
    totals = done.report["totals"]
    assert totals["connects"] == totals["leaves"] == totals["published"] == totals["deliveries"] > 0
    assert done.report["served"]["count"] == totals["leaves"]


def test_churn_sees_what_it_does_not_get(bench):
    with FakeBroker(lambda one, n, data: [] if one.order == 3 else [data]) as broker:
        done = bench(broker.url, "churn", "--connections", 2, "--seconds", 0.5, "--warmup", 0, "--patience", 3,
                     code=1)
        faults(done, lost=1)


def test_storm_passes_on_hermes_and_all_are_served_again(bench, server):
    done = bench(server.url, "storm", "--subscribers", 60, "--rounds", 3, "--seconds", 0.1, "--warmup", 0.1,
                 "--threads", 2)
    faults(done)
    assert done.report["served"]["count"] == 3 * 60
    assert len(done.report["rounds"]) == 3
    assert not any(note.startswith("Round") for note in done.report["notes"])
    assert done.report["totals"]["connects"] == 3 * 60


def test_storm_sees_who_is_not_let_in_again(bench):
    # 0 looks; 1 to 5 subscribe, 6 publishes; 7 to 11 come back.
    with FakeBroker(refuse=lambda number: number == 9) as broker:
        done = bench(broker.url, "storm", "--subscribers", 5, "--rounds", 1, "--seconds", 0.05, "--warmup", 0.1,
                     code=1)
        faults(done, unconnected=1)
        assert "rounds" not in done.report
        assert any("4 of 5" in note for note in done.report["notes"])


def test_slow_subscribers_are_closed_and_that_is_no_fault(bench, start_server):
    """By a window, so that the others are never as far behind as that, however slow the machine."""
    server = start_server(workers=1, max_backlog_bytes="3m")

    def all_closed(seconds):
        done = bench(server.url, "slow", "--subscribers", 4, "--stalled", 0.5, "--payload", "512k", "--window", 2,
                     "--seconds", seconds, "--warmup", 0, "--pid", server.pid)
        faults(done)
        return any("2 subscribers did not read" in note and "2 of them had been closed" in note
                   for note in done.report["notes"])

    # In that time there must be more than the system's buffers and the backlog hold.
    assert any(all_closed(seconds) for seconds in (2, 8, 32))


def test_subscribers_that_were_slow_for_a_moment_get_all_of_it(bench, server):
    done = bench(server.url, "slow", "--subscribers", 10, "--stalled", 0.2, "--payload", 100, "--rate", 200,
                 "--seconds", 0.5, "--warmup", 0.1)
    faults(done)
    assert any("0 of them had been closed" in note for note in done.report["notes"])


# Of two subscribers, by the number of its connection: they connect in order, but are not always served so.
STALLED = 2


def test_what_a_slow_subscriber_never_gets_is_lost(bench):
    with FakeBroker(lambda one, n, data: [] if one.number == STALLED and n == SENT - 1 else [data]) as broker:
        done = bench(broker.url, "slow", "--subscribers", 2, "--stalled", 0.5, *TAIL, code=1)
        faults(done, lost=1)
        assert not any("got all" in note for note in done.report["notes"])


def test_what_another_never_gets_is_not_put_down_to_the_slow_ones(bench):
    with FakeBroker(lambda one, n, data: [] if one.number == STALLED - 1 and n == SENT - 1 else [data]) as broker:
        faults(bench(broker.url, "slow", "--subscribers", 2, "--stalled", 0.5, *TAIL, code=1), lost=1)


def test_a_slow_subscriber_that_answered_no_ping_may_be_closed(bench):
    def deliver(one, n, data):
        if one.number == STALLED and n == SENT - 1:
            one.send(data)
            one.close(1011)
            return []
        return [data]

    with FakeBroker(deliver) as broker:
        done = bench(broker.url, "slow", "--subscribers", 2, "--stalled", 0.5, *SMALL)
        faults(done)
        assert any("1 of them had been closed" in note for note in done.report["notes"])


def test_soak_passes_on_hermes(bench, server):
    done = bench(server.url, "soak", "--subscribers", 20, "--topics", 20, "--pairs", 5, "--connections", 4,
                 "--rate", 300, "--seconds", 0.8, "--warmup", 0.1, "--threads", 2)
    faults(done)
    assert done.report["totals"]["leaves"] > 0
    assert done.report["totals"]["connects"] > done.report["totals"]["leaves"]


# ---- level 2 ----


class FakeLevel2(FakeBroker):
    """`replay(rows, more)` tells what comes of what a subscriber asks for by `since`: rows of offset and
    text; `more` is what its ack says. `number(offset)` tells what a delivery says its offset is."""

    def __init__(self, replay=None, number=None, name=None, **more):
        super().__init__(level=2, **more)
        self.replay = replay or (lambda rows, more: rows)
        self.number = number or (lambda offset: offset)
        self.name = name or (lambda topic, offset: topic)

    def _answer2(self, message):
        more, rows = super()._answer2(message)
        return more, self.replay(rows, more) if "since" in message else rows

    def _envelope(self, topic, offset, text):
        return super()._envelope(self.name(topic, offset), self.number(offset), text)


MISSED, BACK = 20, 4
RECOVER = ("storm", "--recover", "--subscribers", BACK, "--rounds", 1, "--missed", MISSED, "--rate", 1000,
           "--warmup", 0.05, "--seconds", 0.05, "--payload", 80, "--patience", 4)


def test_level_2_passes_on_an_honest_broker(bench):
    with FakeLevel2() as broker:
        done = bench(broker.url, "fanout", "--level", 2, "--subscribers", 4, "--publishers", 2, *SMALL)
        faults(done)
        assert done.report["totals"]["deliveries"] == 4 * SENT
        assert all(one.level == 2 for one in broker.connections)
        assert done.report["settings"]["level"] == 2


def test_a_broker_without_level_2_is_one_line(bench):
    with FakeBroker() as broker:
        done = bench(broker.url, "fanout", "--level", 2, *SMALL, code=2)
        assert done.stderr.count("\n") == 2 and "hermes.v2" in done.stderr  # the first is about limits


def test_at_level_2_a_loss_is_in_the_offsets_too(bench):
    with FakeLevel2(deliver=lambda one, n, data: [] if one.order == 1 and n == 5 else [data]) as broker:
        faults(bench(broker.url, "fanout", "--level", 2, "--subscribers", 3, *SMALL, code=1), lost=1, misnumbered=1)


def test_at_level_2_a_message_that_the_client_library_would_leave_out_is_doubled(bench):
    with FakeLevel2(deliver=lambda one, n, data: [data] * (1 + (one.order == 1 and n == 5))) as broker:
        faults(bench(broker.url, "fanout", "--level", 2, "--subscribers", 3, *SMALL, code=1), doubled=1)


def test_offsets_that_leave_one_out_are_a_fault(bench):
    with FakeLevel2(number=lambda offset: offset + (offset > 50)) as broker:
        faults(bench(broker.url, "fanout", "--level", 2, "--subscribers", 3, *SMALL, code=1), misnumbered=3)


def test_offsets_that_do_not_begin_behind_the_acknowledged_one_are_a_fault(bench):
    with FakeLevel2(number=lambda offset: offset + 7) as broker:
        faults(bench(broker.url, "fanout", "--level", 2, "--subscribers", 3, *SMALL, code=1), misnumbered=3)


def test_a_delivery_that_names_another_topic_is_damaged(bench):
    with FakeLevel2(name=lambda topic, offset: "another" if offset == 9 else topic) as broker:
        faults(bench(broker.url, "fanout", "--level", 2, "--subscribers", 3, *SMALL, code=1), damaged=3)


def test_a_delivery_that_names_a_topic_of_somebody_else_is_damaged(bench):
    def name(topic, offset):
        return next(t for t in broker.topics if t != topic) if offset == 9 else topic

    with FakeLevel2(name=name) as broker:
        faults(bench(broker.url, "pairs", "--level", 2, "--pairs", 2, *SMALL, code=1), damaged=2)


def test_a_delivery_in_another_form_of_json_is_one(bench):
    def deliver(one, n, data):
        topic = one.topics[0]
        return [{"offset": broker.offsets[topic], "data": json.loads(data), "topic": topic, "type": "message"}]

    with FakeLevel2(deliver=deliver) as broker:
        done = bench(broker.url, "fanout", "--level", 2, "--subscribers", 3, *SMALL)
        faults(done)
        assert done.report["totals"]["deliveries"] == 3 * SENT


def test_a_recovering_storm_passes_on_an_honest_broker(bench):
    with FakeLevel2() as broker:
        done = bench(broker.url, *RECOVER[:5], 3, *RECOVER[6:], "--threads", 2)
        faults(done)
        assert len(done.report["rounds"]) == 3
        assert done.report["recovery"]["messages"] == 3 * 4 * MISSED
        assert done.report["served"]["count"] == 3 * 4


def each(count):
    """Of one fault for each subscriber that comes back."""
    return BACK * count


@pytest.mark.parametrize(("replay", "expected"), [
    (lambda rows, more: rows[:7] + rows[8:], {"lost": each(1), "misnumbered": each(1)}),
    (lambda rows, more: rows[1:], {"lost": each(1), "misnumbered": each(1)}),
    (lambda rows, more: rows[:-1], {"lost": each(1), "misnumbered": each(1)}),
    (lambda rows, more: [], {"lost": each(MISSED), "misnumbered": each(1)}),
    (lambda rows, more: rows[:7] + rows[6:], {"doubled": each(1)}),
    (lambda rows, more: rows + rows, {"doubled": each(MISSED)}),
    (lambda rows, more: rows[:7] + [rows[8], rows[7]] + rows[9:], {"reordered": each(1), "misnumbered": each(2),
                                                                     "disordered": 0}),
    (lambda rows, more: [(n, '"else"' if n == rows[3][0] else text) for n, text in rows],
     {"damaged": each(1), "lost": each(1), "misnumbered": each(1)}),
], ids=["one-left-out", "the-first-left-out", "the-last-left-out", "all-left-out", "one-twice", "all-twice", "reordered",
        "another"])
def test_what_is_wrong_with_a_replay_is_seen(bench, replay, expected):
    with FakeLevel2(replay=replay) as broker:
        faults(bench(broker.url, *RECOVER, code=1), **expected)


def test_what_had_come_before_the_cut_is_doubled(bench):
    def replay(rows, more):
        topic, = broker.kept
        return broker.kept[topic][-MISSED - 2:]

    with FakeLevel2(replay=replay) as broker:
        faults(bench(broker.url, *RECOVER, code=1), doubled=each(2))


def test_one_that_is_not_recovered_is_a_fault(bench):
    told = []

    def replay(rows, more):
        told.append(more)
        if len(told) != 2:
            return rows
        more["recovered"] = False
        return []

    with FakeLevel2(replay=replay) as broker:
        done = bench(broker.url, *RECOVER, code=1)
        faults(done, unrecovered=1)
        assert "rounds" not in done.report
        assert any("3 of 4" in note for note in done.report["notes"])


def test_a_server_that_keeps_nothing_is_one_line(bench, server):
    done = bench(server.url, *RECOVER, code=2)
    assert done.stderr.count("hermes-bench:") == 1 and "keep 20 messages" in done.stderr


def test_a_server_that_keeps_too_little_is_the_same(bench, start_server):
    server = start_server(rules=[{"match": ">", "history": MISSED - 1}])
    assert "keep 20 messages" in bench(server.url, *RECOVER, code=2).stderr


@pytest.mark.parametrize("workers", [1, 3])
def test_a_recovering_storm_passes_on_hermes(bench, start_server, workers):
    server = start_server(workers=workers, rules=[{"match": ">", "history": 150}])
    done = bench(server.url, "storm", "--recover", "--subscribers", 200, "--rounds", 2, "--rate", 1000, "--warmup", 0.05,
                 "--seconds", 0.05, "--publishers", 3, "--threads", 2, "--pid", server.pid)
    faults(done)
    assert len(done.report["rounds"]) == 2
    recovery = done.report["recovery"]
    assert recovery["messages"] == 2 * 200 * 100
    assert recovery["rss_peak"] >= recovery["rss_before"] > 0 and recovery["cpu"] > 0


@pytest.mark.parametrize("words", [
    ("fanout", "--subscribers", 20, "--publishers", 3, "--rate", 200),
    ("fanout", "--subscribers", 20, "--publishers", 3, "--window", 16),
    ("topics", "--topics", 40, "--subscribers", 30, "--per-subscriber", 7, "--publishers", 3, "--rate", 400),
    ("pairs", "--pairs", 20, "--window", 3),
    ("slow", "--subscribers", 10, "--stalled", 0.2, "--payload", 100, "--rate", 200),
    ("storm", "--subscribers", 20, "--rounds", 1),
    ("churn", "--connections", 4),
    ("soak", "--subscribers", 20, "--topics", 20, "--pairs", 5, "--connections", 4, "--rate", 300),
], ids=lambda words: f"{words[0]}{words[-2]}")
def test_level_2_passes_on_hermes(bench, server, words):
    done = bench(server.url, *words, "--level", 2, "--threads", 2, "--warmup", 0.05, "--seconds", 0.2)
    faults(done)
    assert done.report["totals"]["deliveries"] > 0


def test_connections_at_level_2_are_measured(bench, server):
    faults(bench(server.url, "connect", "--level", 2, "--connections", 50, "--connect-rate", 0, "--seconds", 0.05,
                 "--subscribe", "own"))
