"""Who is let in when many come, and that those who leave hold up nobody."""

import resource
import socket

import pytest

import raw
from hermes_fixtures import eventually, within
from raw import head

MANY = 5000


def knock(server, path="/", extra=()):
    """The status, and when to come back."""
    with raw.Raw(server.port) as conn:
        conn.send(head(path, extra=extra))
        response = conn.response()
        after = response.header("retry-after")
        assert (after is not None) == (response.status == 503)
        return response.status, int(after) if after else 0


# Seen to fail with a gate that asks nobody whether it comes back.
@pytest.mark.parametrize("path,extra", [("/?resume=1", ()), ("/a?b=c&resume=1", ()),
                                        ("/sse?topic=t&since=0:1", ()),
                                        ("/sse?topic=t", ("Last-Event-ID: 0:1",))])
def test_where_nobody_new_is_let_in_who_was_here_before_is(start_server, path, extra):
    server = start_server(workers=3, max_connects_per_second=4)
    is_event_stream = path.startswith("/sse")
    asked = {"upgrade": None, "connection": None, "key": None, "version": None} if is_event_stream else {}

    def crowd():
        return knock(server)[0] == 503

    for _ in range(3):
        eventually(crowd, "a refusal", pause=0)
        with raw.Raw(server.port) as conn:
            conn.send(head(path, extra=extra, **asked))
            assert conn.response().status == (200 if is_event_stream else 101)


# Seen to fail with a constant.
def test_the_more_are_sent_away_the_later_they_are_told_to_come_back(start_server):
    server = start_server(workers=2, max_connects_per_second=1)
    waits = [after for status, after in (knock(server) for _ in range(40)) if status == 503]
    assert len(waits) > 20
    assert waits[-1] > waits[0] and 0 < min(waits) and max(waits) <= 60
    assert server.get("/healthz").status == 200  # which is not counted


def test_a_connection_too_much_is_refused_with_different_times(start_server):
    server = start_server(max_connections=2)
    clients = [server.client() for _ in range(2)]
    waits = {knock(server)[1] for _ in range(20)}
    assert len(waits) > 2
    for client in clients:
        client.fence()


def open_many(server, count):
    """Connections with a subscription each, not yet read from."""
    request = head() + raw.text(raw.command("subscribe", "t"))
    conns = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", server.port))
        sock.sendall(request)
        conns.append(sock)
    return conns


# Seen to fail with an acceptor that waits until the mail of its worker is taken.
@pytest.mark.parametrize("workers", [1, 2])
def test_thousands_who_leave_at_once_hold_up_nobody_who_comes(start_server, workers):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * MANY:
        pytest.skip("too few descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 3 * MANY)), hard))
    server = start_server(workers=workers, nofile=3 * MANY, max_connections=2 * MANY)
    stays = server.client()
    stays.subscribe("t")
    conns = open_many(server, MANY)
    eventually(lambda: server.api("GET", "/api/status")[1]["subscriptions"] == MANY + 1, "all of them")

    def leave():
        for n, sock in enumerate(conns):
            if n % 2:  # half of them without a word
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, raw.struct.pack("ii", 1, 0))
            sock.close()

    leaving = within(leave)
    came = []
    counts = []
    # Each of these is let in and served before the next one comes, however many have still to go.
    while not leaving.done() or len(came) < 50:
        client = server.client()
        came.append(client)
        client.subscribe("new")
        stays.publish("t", len(came))
        assert stays.recv_json() == len(came)
        if len(came) % 10 == 0:
            counts.append(server.api("GET", "/api/status")[1]["subscriptions"])
    leaving.result()
    assert counts[0] > 1
    eventually(lambda: server.api("GET", "/api/status")[1]["subscriptions"] == len(came) + 1, "the end of all")
    for client in came:
        client.fence()
