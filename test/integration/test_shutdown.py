"""SIGTERM and SIGINT: told to all, nothing queued is lost, and it ends."""

import signal
import time

import pytest

import raw
from hermes_fixtures import eventually, milliseconds, within
from raw import CLOSE, TEXT, Ended, publish_text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_signal_closes_all_with_1012_and_exits_0(server, number):
    clients = [server.client() for _ in range(30)]
    for n, client in enumerate(clients[:20]):
        client.subscribe(f"t{n % 3}")
    server.kill(number)
    for client in clients:
        client.expect_close(1012)
    assert server.wait() == 0


def test_without_clients_it_ends_as_well(start_server):
    server = start_server()
    assert server.stop() == 0


def test_half_shaken_hands_do_not_hold_it_up(start_server):
    server = start_server(drain_seconds="300s", handshake_seconds="300s")
    silent, half = server.raw(), server.raw()
    half.send(b"GET / HT")
    server.client().fence()
    assert server.stop() == 0
    for conn in (silent, half):
        try:
            assert conn.response().status == 503
        except Ended:
            pass


def test_a_client_that_does_not_answer_the_close_does_not_hold_it_up(start_server):
    server = start_server(drain_seconds=milliseconds(500))
    conn = server.client()
    server.kill(signal.SIGTERM)
    got = conn.recv()
    assert got.opcode == CLOSE
    assert server.wait() == 0


@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_queued_is_flushed_before_the_close(start_server, workers):
    server = start_server(workers=workers, drain_seconds="300s")
    readers = [server.client(rcvbuf=4096) for _ in range(3)]
    for client in readers:
        client.subscribe("t")
    publisher = server.client()
    publisher.subscribe("t")
    count = 120

    def all_of(client):
        return [client.recv() for _ in range(count)]

    own = within(all_of, publisher)
    for n in range(count):
        publisher.say(publish_text("t", '"%06d%s"' % (n, "x" * 64_000)))
    own.result()
    server.kill(signal.SIGTERM)
    publisher.expect_close(1012)
    for client in readers:
        for n, got in enumerate(all_of(client)):
            assert got.opcode == TEXT and got.payload.startswith(b'"%06d' % n)
        client.expect_close(1012)
    assert server.wait() == 0


@pytest.mark.parametrize("workers", [1, 3])
def test_stalled_clients_do_not_hold_it_beyond_the_drain_time(start_server, workers):
    server = start_server(workers=workers, drain_seconds=milliseconds(500), pong_seconds="300s")
    stalled = [server.client(rcvbuf=4096) for _ in range(5)]
    for client in stalled:
        client.subscribe("t")
    publisher = server.client()
    for n in range(150):
        publisher.say(publish_text("t", '"%06d%s"' % (n, "x" * 64_000)))
    publisher.fence()
    assert server.stop() == 0


def test_in_the_drain_delay_readyz_says_503_and_clients_are_still_served(start_server):
    server = start_server(drain_delay_seconds="300s")
    client = server.client()
    client.subscribe("t")
    assert server.get("/readyz").status == 200
    server.kill(signal.SIGTERM)
    eventually(lambda: server.get("/readyz").status == 503, "503 at /readyz")
    assert server.get("/healthz").status == 200
    client.publish("t", 1)
    assert client.recv_text() == "1"
    server.expected_exit = None
    server.kill(signal.SIGTERM)
    server.wait()


def test_after_the_drain_delay_it_closes_and_ends(start_server):
    server = start_server(drain_delay_seconds=milliseconds(300))
    client = server.client()
    server.kill(signal.SIGTERM)
    client.expect_close(1012)
    assert server.wait() == 0


@pytest.mark.parametrize("first,second", [(signal.SIGTERM, signal.SIGTERM),
                                          (signal.SIGINT, signal.SIGTERM),
                                          (signal.SIGTERM, signal.SIGINT)])
def test_a_second_signal_ends_it_at_once(start_server, first, second):
    server = start_server(drain_delay_seconds="300s", drain_seconds="300s")
    server.expected_exit = None
    server.client().subscribe("t")
    server.kill(first)
    eventually(lambda: server.get("/readyz").status == 503, "503 at /readyz")
    server.kill(second)
    server.wait()


def test_a_second_signal_ends_a_drain_that_stalled_clients_hold(start_server):
    server = start_server(workers=1, drain_seconds="300s")
    server.expected_exit = None
    stalled, publisher = server.client(rcvbuf=4096), server.client()
    stalled.subscribe("t")
    for n in range(150):
        publisher.say(publish_text("t", '"%06d%s"' % (n, "x" * 64_000)))
    publisher.fence()
    server.kill(signal.SIGTERM)
    publisher.expect_close(1012)
    assert server.process.poll() is None, "it did not wait for what is queued"
    server.kill(signal.SIGTERM)
    server.wait()


def test_new_connections_are_refused_once_it_closes(start_server):
    server = start_server(workers=1, drain_seconds="300s")
    stalled, publisher = server.client(rcvbuf=4096), server.client()
    stalled.subscribe("t")
    for n in range(150):
        publisher.say(publish_text("t", '"%06d%s"' % (n, "x" * 64_000)))
    publisher.fence()
    server.kill(signal.SIGTERM)
    publisher.expect_close(1012)

    def refused():
        try:
            with raw.Raw(server.port) as conn:
                conn.try_send(raw.head())
                return conn.response().status == 503
        except (Ended, OSError):
            return True

    eventually(refused, "the refusal of new connections")
    server.expected_exit = None
    server.kill(signal.SIGTERM)
    server.wait()


@pytest.mark.parametrize("workers", [1, 3])
def test_it_ends_in_the_midst_of_traffic(server):
    clients = [server.client() for _ in range(8)]
    for client in clients:
        client.subscribe("t")
    body = b"".join(raw.text(publish_text("t", str(n))) for n in range(300))

    def publish(client):
        client.try_send(body)

    def read(client):
        last = None
        try:
            while (last := client.recv()).opcode != CLOSE:
                assert last.opcode == TEXT
        except Ended:
            return
        client.check_close(last, 1012)
        client.drop()

    running = [within(publish, c) for c in clients[:4]] + [within(read, c) for c in clients]
    time.sleep(0)
    server.kill(signal.SIGTERM)
    for one in running:
        one.result()
    assert server.wait() == 0
