"""Few descriptors, and clients that end in every way there is, under load."""

import contextlib
import os
import random
import re
import resource
import select
import threading
import time

import pytest

import raw
from hermes_fixtures import eventually, sanitized, within
from raw import SLOW, CLOSE, Ended, command, frame, head, publish_text, text


def descriptors(server):
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def states(server):
    """What the system says of each of its threads: "S" is asleep, "R" is at work or wants to be."""
    found = []
    for task in os.listdir(f"/proc/{server.pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
                open(f"/proc/{server.pid}/task/{task}/stat") as stat:
            found.append(stat.read().rsplit(")", 1)[1].split()[0])
    return found


def rests(server):
    """Whether all of it is asleep more often than not. Looked at again and again, it is at some
    time, however slow the machine; a thread that spins never is, for it always wants to go on."""
    asleep = 0
    for _ in range(20):
        asleep += set(states(server)) == {"S"}
        time.sleep(0.01)
    return asleep > 10


def crowd(server, n):
    """n connections, whatever becomes of them."""
    conns = []
    for _ in range(n):
        conn = raw.Raw(server.port)
        conn.try_send(head())
        conns.append(conn)
    return conns


@pytest.mark.parametrize("workers", [1, 3])
def test_more_clients_than_descriptors_do_no_harm(start_server, workers):
    server = start_server(workers=workers, nofile=64)
    member = server.client()
    member.subscribe("t")
    conns = crowd(server, 200)
    # Those beyond the limit get 503, or their end, or wait in the queue of the kernel.
    eventually(lambda: len(readable(conns)) > 20, "answers to those for whom there is room")
    assert sum(accepted(conn) for conn in readable(conns)) > 10
    member.publish("t", 1)
    assert member.recv_text() == "1"
    eventually(lambda: rests(server), "rest")
    for conn in conns:
        conn.drop()
    eventually(lambda: answers(server), "an answer once the crowd has gone")
    member.fence()


def readable(conns):
    return select.select(conns, [], [], 0)[0]


def accepted(conn):
    with contextlib.suppress(Ended):
        return conn.response().status == 101
    return False


def answers(server):
    with contextlib.suppress(Ended, OSError, AssertionError):
        with raw.Client(server.port) as conn:
            conn.fence()
            return server.get("/healthz").status == 200
    return False


# Broken by trying again at once.
def test_running_out_of_descriptors_at_accept_neither_spins_nor_lasts(start_server):
    server = start_server(workers=2)
    start = time.monotonic()
    member = server.client()
    member.subscribe("t")
    most = descriptors(server) + 5
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (most, most))
    conns = crowd(server, 40)
    eventually(lambda: descriptors(server) >= most, "the use of every descriptor")
    member.publish("t", 1)
    assert member.recv_text() == "1"
    server.wait_log("accept failed", count=5)
    eventually(lambda: rests(server), "rest")
    assert len(server.lines()) < 100
    for conn in conns:
        conn.drop()
    eventually(lambda: answers(server), "an answer once the crowd has gone")
    member.fence()
    # It tries ten times a second.
    failures = re.search(rb"\nhermes_accept_errors_total (\d+)\n", server.admin("GET", "/metrics")[2])
    assert 5 <= int(failures[1]) <= 20 * (time.monotonic() - start) + 20


@pytest.mark.parametrize("workers", [1, 3])
def test_descriptors_come_back(start_server, workers):
    server = start_server(workers=workers)
    server.client().fence()
    before = descriptors(server)
    for _ in range(3):
        conns = crowd(server, 100)
        for n, conn in enumerate(conns):
            (conn.reset if n % 2 else conn.drop)()
        garbage = [raw.Raw(server.port) for _ in range(50)]
        for conn in garbage:
            conn.try_send(b"nonsense\r\n\r\n")
            conn.until_end_of_bytes()
            conn.drop()
    eventually(lambda: descriptors(server) <= before, "the end of all connections")


def leave_by_reset(conn):
    conn.reset()


def leave_by_half_close(conn):
    conn.half_close()
    conn.until_end()
    conn.drop()


def leave_amid_a_frame(conn):
    conn.try_send(text(publish_text("t0", "1" * 5000))[:-2000])
    conn.drop()


def leave_amid_a_header(conn):
    conn.try_send(b"\x81\xfe\x01")
    conn.reset()


def leave_amid_a_fragmented_message(conn):
    conn.try_send(frame(raw.TEXT, b'{"topic"', fin=False))
    conn.drop()


def leave_politely(conn):
    conn.try_send(frame(CLOSE, raw.close_body(1000)))
    conn.until_end()
    conn.drop()


def leave_without_waiting(conn):
    conn.try_send(frame(CLOSE, raw.close_body(1000)))
    conn.drop()


def leave_by_a_protocol_error(conn):
    conn.try_send(frame(5, b""))
    conn.until_end()
    conn.drop()


def leave_with_unread_messages(conn):
    conn.drop()


WAYS = [leave_by_reset, leave_by_half_close, leave_amid_a_frame, leave_amid_a_header,
        leave_amid_a_fragmented_message, leave_politely, leave_without_waiting,
        leave_by_a_protocol_error, leave_with_unread_messages]


@pytest.mark.parametrize("workers", [1, 3])
def test_however_clients_leave_under_load_nothing_of_them_stays(start_server, workers):
    server = start_server(workers=workers)
    witness = server.client()
    witness.subscribe("witness")
    before = descriptors(server)
    stop = threading.Event()

    def load(client):
        n = 0
        while not stop.is_set():
            client.say(*(publish_text(f"t{k % 5}", str(n)) for k in range(20)))
            client.fence()
            n += 1

    def visitor(seed):
        dice = random.Random(seed)
        for n in range(27):
            with contextlib.suppress(Ended, OSError):
                conn = raw.Client(server.port)
                topics = dice.sample(range(5), dice.randrange(2, 6))
                conn.say(*(command("subscribe", f"t{t}") for t in topics),
                         publish_text(f"t{topics[0]}", '"mine"'),
                         *([command("unsubscribe", f"t{topics[0]}")] if dice.random() < .3 else []))
                if dice.random() < .7:
                    for _ in range(dice.randrange(20)):
                        conn.recv()
                WAYS[(seed + n) % len(WAYS)](conn)

    loaders = [server.client() for _ in range(2)]
    running = [within(load, c) for c in loaders]
    visitors = [within(visitor, seed) for seed in range(6)]
    try:
        for one in visitors:
            one.result()
    finally:
        stop.set()
        for one in running:
            one.result()
    for client in loaders:
        client.drop()
    eventually(lambda: witness.counts() == {"witness": 1}, "the end of all topics")
    eventually(lambda: descriptors(server) <= before, "the end of all connections")
    witness.publish("witness", 5)
    assert witness.recv_text() == "5"


@pytest.mark.parametrize("way", WAYS)
def test_a_client_that_leaves_is_forgotten(server, way):
    witness, conn = server.client(), server.client()
    conn.subscribe("t0")
    conn.subscribe("t1")
    witness.publish("t1", '"unread"')
    witness.fence()
    way(conn)
    eventually(lambda: witness.counts() == {}, "the end of its topics")
    witness.publish("t1", 1)
    witness.fence()


def test_half_closing_still_gets_what_was_asked_for_before(server):
    conn = server.client()
    conn.say(command("subscribe", "t"), "~")
    conn.half_close()
    frames = conn.until_end()
    assert all(f.opcode in (raw.TEXT, CLOSE) for f in frames)


@pytest.mark.skipif(sanitized(), reason="sanitizers keep freed memory")
def test_a_thousand_short_lives_leave_memory_as_it_was(start_server):
    server = start_server(workers=2)

    def lives(n):
        for _ in range(n):
            conn = raw.Client(server.port)
            conn.say(command("subscribe", "life"), publish_text("life", "1"))
            conn.expect_subscribed("life")
            conn.recv()
            conn.drop()

    lives(300)
    before = server.memory()
    lives(700)
    assert server.memory() - before < (4 << 20) * SLOW
