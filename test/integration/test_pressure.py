"""What a broker does at its limits: too slow, too much, too fast, too large, and at the end."""

import json
import select
import signal
import threading
import time

import pytest

from hermes_fixtures import eventually, sanitized, within
from raw import CLOSE, DEADLINE, PING, PONG, SLOW, TEXT, Ended, command, frame, publish_text, text

MIB = 1 << 20


def numbered(n, size):
    return publish_text("t", '"%06d%s"' % (n, "x" * (size - 8)))


def expect_numbered(client, count, first=0):
    for n in range(first, first + count):
        got = client.recv()
        assert got.opcode == TEXT and got.payload.startswith(b'"%06d' % n), (n, got.opcode,
                                                                             got.payload[:40])


# Broken by taking the worker's interest in a topic away with its last subscriber, though somebody
# is just joining it.
def test_who_joins_while_the_only_other_subscriber_is_cut_hears_all_that_follows(start_server):
    server = start_server(workers=1, max_backlog_bytes="1m", max_message_bytes="256k")
    joiner = server.client()
    # Mail that the subscribe behind it has to deliver first. Two topics in turn, so that it is
    # many pieces, between any two of which the slow one may be cut.
    mail = [publish_text(topic, '"%s"' % ("x" * 3000)) for _ in range(8) for topic in ("t", "u")]
    for _ in range(3):
        slow = server.client(rcvbuf=4096)
        slow.subscribe("t")
        slow.subscribe("u")
        there = True
        for n in range(1000):
            joiner.say(*mail, command("subscribe", "t"))
            joiner.expect_subscribed("t")
            counts = joiner.counts()
            there = "u" in counts
            assert counts == ({"t": 2, "u": 1} if there else {"t": 1})
            joiner.say(publish_text("t", f'"{n}"'))
            joiner.say(command("unsubscribe", "t"))
            assert joiner.recv_text() == f'"{n}"'
            joiner.expect_unsubscribed("t")
            if not there:
                break
        assert not there, "the slow one was never cut"


# Broken by copying the rest of a partly sent frame for everybody who is cut, whatever the budget.
@pytest.mark.skipif(sanitized(), reason="sanitizers keep freed memory")
def test_cutting_many_amid_a_large_frame_costs_no_more_than_the_budget(start_server):
    # A message is larger than the kernel's buffers, and so ends partly sent to each of them.
    server = start_server(workers=1, max_backlog_bytes="16m", max_message_bytes="4m")
    publisher = server.client()
    message = text(numbered(0, 4_000_000))
    publisher.send(message)
    publisher.fence()
    stalled = [server.client(rcvbuf=4096) for _ in range(120)]
    for client in stalled:
        client.subscribe("t")
    server.reset_peak()
    before = server.memory()
    for _ in range(8):
        publisher.send(message)
        publisher.fence()
    eventually(lambda: server.topic_counts("t") == {}, "the end of the stalled ones")
    growth = server.peak_memory() - before
    assert growth < 16 * MIB + 24 * MIB, f"{growth >> 10} KiB"


# Broken by answering every listing of a flood, and by refusing others than those who flood.
def test_a_flood_of_listings_is_refused_while_who_pages_gets_every_topic_once(start_server):
    server = start_server(workers=1)
    holder = server.client()
    names = [f"topic:{n:05}" for n in range(6000 if not sanitized() else 2000)]
    for start in range(0, len(names), 500):
        holder.say(*(command("subscribe", name) for name in names[start:start + 500]))
        for name in names[start:start + 500]:
            holder.expect_subscribed(name)
    flooder, pager = server.client2(), server.client()
    # Looks at all topics to find the last one, so that what is read at once is more than may be owed,
    # however slowly all of it goes.
    one = text('{"type":"topics","pattern":"*:%s"}' % names[-1][6:])
    over = threading.Event()
    room = threading.Semaphore(4)  # thousands in flight: what is behind the last page stays short

    def flood():
        sent = 0
        while not over.is_set():
            assert room.acquire(timeout=DEADLINE)
            flooder.send(one * 1000)
            sent += 1000
        flooder.send(frame(PING, b"over"))
        return sent

    def answers():
        listed = refused = 0
        while (got := flooder.recv()).opcode != PONG:
            answer = json.loads(got.payload)
            if answer["type"] == "topics":
                assert answer["topics"] == [{"topic": names[-1], "subscribers": 1}]
                listed += 1
            else:
                assert answer == {"type": "error", "code": "rate_limited",
                                  "message": "Too many listings at the moment: ask again."}
                refused += 1
            if (listed + refused) % 1000 == 0:
                room.release()
        return listed, refused

    flooding, answered = within(flood), within(answers)
    # Each page waits for all that the flooder may list in a turn: seconds, under ThreadSanitizer.
    passes, pages = (2, 3) if sanitized() else (3, 10)
    for _ in range(passes):
        paged, after = [], ""
        while after is not None:
            got = pager.topics(after=after, limit=len(names) // pages)
            paged += got["topics"]
            after = got.get("next")
        assert paged == [{"topic": name, "subscribers": 1} for name in names]
    over.set()
    sent = flooding.result()
    listed, refused = answered.result()
    assert listed + refused == sent
    assert listed >= 1
    assert refused >= 1


# Broken by giving a drain's close no more time than any other.
def test_a_drain_lasts_as_long_as_a_client_takes_what_is_queued(start_server):
    pong = 2 * SLOW
    server = start_server(workers=1, drain_seconds="300s", pong_seconds=f"{pong}s",
                          ping_seconds="0")
    reader, publisher = server.client(rcvbuf=4096), server.client()
    reader.subscribe("t")
    count = 48
    for n in range(count):
        publisher.say(numbered(n, 250_000))
    publisher.fence()
    server.kill(signal.SIGTERM)
    publisher.expect_close(1012)
    # Half of it, steadily, in much more time than a pong may take.
    for n in range(count // 2):
        expect_numbered(reader, 1, n)
        time.sleep(1.8 * pong / (count // 2))
    expect_numbered(reader, count - count // 2, count // 2)
    reader.expect_close(1012)
    assert server.wait() == 0


# Broken by forgetting the fraction of a message that is earned in a millisecond.
def test_who_keeps_within_the_rate_is_never_refused(start_server):
    limit = 999
    server = start_server(workers=1, max_messages_per_second=limit)
    client = server.client()
    message = text(publish_text("nobody", "1"))
    # Most of what may be sent at once, then a message a millisecond, a little less than is earned.
    client.send(message * 800)
    client.fence()  # it has them before the others come, however slow it is
    pace = limit * 0.97
    sent_until = time.monotonic()
    end = sent_until + 2
    while sent_until < end:
        ready, _, _ = select.select([client], [], [], 0.0002)
        assert not ready, client.recv()
        now = time.monotonic()
        sent_until = max(sent_until, now - 0.1)  # what was held up for long is not made up for
        due = int((now - sent_until) * pace)
        if due > 0:
            client.send(message * due)
            sent_until += due / pace
    client.fence()


# Broken by not looking whether what stands before the ping is still being taken, and (more) by
# taking what is written behind it for a standstill.
@pytest.mark.parametrize("more", [False, True])
def test_a_slow_reader_is_no_dead_one(start_server, more):
    patience = 1.5 * SLOW
    server = start_server(workers=1, ping_seconds=f"{patience}s", pong_seconds=f"{patience}s")
    reader, publisher = server.client(rcvbuf=16384), server.client()
    reader.subscribe("t")
    # Less than the kernel's buffers hold: nothing of it waits in the server.
    count = 60
    sent = 0

    def publish(upto):
        nonlocal sent
        for n in range(sent, min(upto, count)):
            publisher.say(numbered(n, 30_000))
        sent = max(sent, min(upto, count))
        publisher.send(frame(PONG, b""))

    publish(15 if more else count)
    pings = n = 0
    while n < count or pings == 0:
        got = reader.recv()
        if got.opcode == PING:
            reader.send(frame(PONG, got.payload))
            pings += 1
            continue
        assert got.opcode == TEXT and got.payload.startswith(b'"%06d' % n), got.payload[:40]
        n += 1
        publish(15 + n * 3 // 2)
        time.sleep(4 * patience / count)
    # It is still served; a ping may come between.
    reader.say(command("subscribe", "more"))
    while (got := reader.recv()).opcode == PING:
        reader.send(frame(PONG, got.payload))
    assert b'"ack_subscribe"' in got.payload


# Broken by never accepting again in a drain's delay once descriptors ran out there.
def test_in_the_drain_delay_it_answers_again_after_descriptors_ran_out(start_server):
    server = start_server(workers=1, drain_delay_seconds="300s", handshake_seconds="300s",
                          nofile=64)
    held = [server.raw() for _ in range(80)]
    server.wait_log("accept failed")
    server.kill(signal.SIGTERM)
    server.wait_log("draining")
    failures = sum("accept failed" in line for line in server.lines())
    server.wait_log("accept failed", failures + 1)
    for conn in held:
        conn.drop()
    answer = server.get("/readyz")
    assert answer.status == 503
    assert b"shutting down" in answer.text
    server.expected_exit = None
    server.kill(signal.SIGTERM)
    server.wait()


# Broken by ending a session as soon as its peer has ended its side.
def test_who_only_ends_its_own_side_still_gets_what_is_queued(start_server):
    server = start_server(workers=1)  # so that the publisher's fence stands behind all deliveries
    reader, publisher = server.client(rcvbuf=4096), server.client()
    reader.subscribe("t")
    count = 200
    for n in range(count):
        publisher.say(numbered(n, 60_000))
    publisher.fence()
    reader.half_close()
    eventually(lambda: server.topic_counts("t") == {}, "the end of its subscriptions")
    publisher.say(numbered(count, 1000))
    publisher.fence()
    expect_numbered(reader, count)
    try:
        got = reader.recv()
        assert got.opcode == CLOSE, got
        reader.expect_end()
    except Ended:
        pass


# Broken by a budget that one message fills.
def test_a_message_larger_than_the_backlog_budget_reaches_who_reads(start_server):
    server = start_server(workers=1, max_message_bytes="8m", max_backlog_bytes="1m")
    raised = [line for line in server.lines() if "WS_MAX_BACKLOG_BYTES" in line]
    assert len(raised) == 1
    assert " warn " in raised[0]
    reader, publisher = server.client(), server.client()
    reader.subscribe("t")
    size = 8 * MIB - 100

    def read():
        for n in range(3):
            got = reader.recv()
            assert got.opcode == TEXT and len(got.payload) == size, (got.opcode, got.payload[:40])
            assert got.payload.startswith(b'"%06d' % n)

    reading = within(read)
    for n in range(3):
        publisher.say(numbered(n, size))
        publisher.fence()
    reading.result()
    reader.fence()


def test_a_budget_that_holds_two_messages_is_left_alone(start_server):
    server = start_server(max_message_bytes="1m", max_backlog_bytes="4m")
    assert "WS_MAX_BACKLOG_BYTES" not in server.log()
