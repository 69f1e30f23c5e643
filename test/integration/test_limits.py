"""Keepalive, and the limits a connection has, each with its answer."""

import pytest

from hermes_fixtures import eventually, milliseconds, within
from raw import CLOSE, PING, PONG, TEXT, Ended, command, frame, publish_text, text


@pytest.fixture
def brisk(start_server):
    """Quick to ask; but who answers must not be late because the machine is."""
    return start_server(ping_seconds=milliseconds(200), pong_seconds=milliseconds(1500))


def test_a_silent_client_is_pinged_and_stays_while_it_answers(brisk):
    conn = brisk.client()
    conn.subscribe("t")
    for _ in range(4):
        got = conn.recv()
        assert got.opcode == PING, got
        conn.send(frame(PONG, got.payload))
    # A ping may come between any two answers here.
    conn.publish("t", 1)
    while (got := conn.recv()).opcode == PING:
        conn.send(frame(PONG, got.payload))
    assert got.payload == b"1"


def test_a_client_that_does_not_answer_pings_is_closed(brisk):
    conn, other = brisk.client(), brisk.client()
    conn.subscribe("mute")
    seen = []
    while True:
        try:
            got = conn.recv()
        except Ended:
            break
        seen.append(got.opcode)
        if got.opcode == CLOSE:
            assert len(got.payload) >= 2
    assert PING in seen
    assert set(seen) <= {PING, CLOSE}
    other.drop()
    eventually(lambda: brisk.topic_counts("mute") == {}, "the end of its subscriptions")


def test_a_client_that_receives_but_never_sends_is_pinged_too(brisk):
    listener = brisk.client()
    listener.subscribe("t")
    talker = brisk.client()
    seen = set()

    def closed():
        talker.publish("t", 1)
        try:
            while listener.pending():
                seen.add(listener.recv().opcode)
        except Ended:
            return True
        return CLOSE in seen

    eventually(closed, "the end of a deaf client")
    assert PING in seen


def test_a_client_that_talks_is_not_closed(brisk):
    conn, mute = brisk.client(), brisk.client()
    # For as long as it takes the server to close a mute one, twice.
    for _ in range(2):
        while True:
            conn.send(frame(PONG, b""))
            conn.say("~")
            while (got := conn.recv()).opcode == PING:
                pass
            assert got.opcode == TEXT
            try:
                if mute.pending() and mute.recv().opcode == CLOSE:
                    break
            except Ended:
                break
        mute = brisk.client()


def test_subscriptions_have_a_limit_per_connection(start_server):
    server = start_server(max_subscriptions=5)
    conn, other = server.client(), server.client()
    for n in range(5):
        conn.subscribe(f"t{n}")
    conn.say(command("subscribe", "t5"))
    conn.expect_error()
    conn.subscribe("t3")
    other.publish("t5", '"no"')
    other.subscribe("t5")
    other.publish("t4", '"yes"')
    assert conn.recv_text() == '"yes"'
    conn.unsubscribe("t0")
    conn.subscribe("t5")
    conn.say(command("subscribe", "t0"))
    conn.expect_error()
    other.publish("t5", '"now"')
    assert conn.recv_text() == '"now"'
    assert server.topic_counts("t") == {"t1": 1, "t2": 1, "t3": 1, "t4": 1, "t5": 2}


def test_a_refused_subscription_leaves_no_topic_behind(start_server):
    server = start_server(max_subscriptions=1)
    conn = server.client()
    conn.subscribe("t")
    for n in range(50):
        conn.say(command("subscribe", f"refused{n}"))
        conn.expect_error()
    assert conn.counts() == {"t": 1}


def test_10000_subscriptions_are_the_default_limit(server):
    conn = server.client()
    names = [f"n{n}" for n in range(10_000)]
    for start in range(0, 10_000, 500):
        conn.say(*(command("subscribe", name) for name in names[start:start + 500]))
        for name in names[start:start + 500]:
            conn.expect_subscribed(name)
    conn.say(command("subscribe", "one more"))
    conn.expect_error()
    assert len(server.topic_counts("n")) == 10_000
    conn.drop()
    eventually(lambda: server.topic_counts("n") == {}, "the end of 10,000 topics")


def test_too_many_messages_a_second_are_errors_and_persistence_closes_with_4029(start_server):
    server = start_server(max_messages_per_second=20)
    flooder, polite = server.client(), server.client()
    flood = within(flooder.try_send, text(publish_text("nobody", "1")) * 10_000)
    errors = 0
    while True:
        got = flooder.recv()
        if got.opcode == CLOSE:
            flooder.check_close(got, 4029)
            break
        assert got.opcode == TEXT and b'"error"' in got.payload, got
        errors += 1
    assert errors >= 1
    flooder.reset()
    flood.result()
    polite.fence()


def test_a_short_burst_over_the_rate_is_told_and_forgiven(start_server):
    server = start_server(max_messages_per_second=50)
    conn = server.client()
    conn.subscribe("t")
    conn.say(*(publish_text("t", str(n)) for n in range(60)), )
    delivered = []
    errors = 0
    while len(delivered) + errors < 60:
        got = conn.recv_json()
        if isinstance(got, dict):
            assert got["type"] == "error"
            errors += 1
        else:
            delivered.append(got)
    assert delivered == sorted(set(delivered))
    assert len(delivered) >= 25

    def forgiven():
        conn.say(publish_text("t", '"after"'))
        return conn.recv_json() == "after"

    eventually(forgiven, "forgiveness", pause=0.1)


def test_the_default_message_limit_is_a_mebibyte(server):
    conn = server.client()
    conn.subscribe("t")
    frame_around = len(publish_text("t", '""'))
    data = '"' + "x" * ((1 << 20) - frame_around) + '"'
    conn.say(publish_text("t", data))
    assert conn.recv_text() == data
    conn.send(frame(TEXT, b"", length=(1 << 20) + 1))
    conn.expect_close(1009)
