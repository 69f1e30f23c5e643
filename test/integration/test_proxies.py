"""Whose connection it is when proxies stand in between: the PROXY protocol, X-Forwarded-For, and
what limits and log lines make of them."""

import re
import socket
import struct

import pytest

import raw
from haproxy import haproxy  # noqa: F401
from hermes_fixtures import eventually, milliseconds
from raw import Client, Raw, head
from test_start import refuses, run

V2 = b"\r\n\r\n\0\r\nQUIT\n"
V2_LOCAL = V2 + b"\x20\0\0\0"


def v1(address="192.0.2.7", port=4321):
    kind, to = ("TCP6", "::1") if ":" in address else ("TCP4", "127.0.0.1")
    return f"PROXY {kind} {address} {to} {port} 443\r\n".encode()


def v2(address="192.0.2.7", port=4321, more=b""):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    to = socket.inet_pton(family, "::1" if ":" in address else "127.0.0.1")
    body = socket.inet_pton(family, address) + to + struct.pack(">HH", port, 443) + more
    return V2 + struct.pack(">BBH", 0x21, 0x21 if ":" in address else 0x11, len(body)) + body


def opened(server, address, count=1):
    """The log says so many times that it came from there; the port, where it has one."""
    return server.wait_log(r"session opened.*address=" + re.escape(address) + r"(?::(\d+))?\s", count)[1]


def headed(server, header):
    """A client behind a proxy that sends this first."""
    conn = Client(server.port, shake=False)
    server.clients.append(conn)
    conn.send(header, head())
    return conn


def turned_away(conn):
    response = conn.response()
    if response.status == 503:
        assert response.header("retry-after")
        assert b"your address" in conn.body(response)
    return response.status == 503


def closed_at_once(server, sent):
    """Without a byte of an answer."""
    with Raw(server.port) as conn:
        conn.try_send(sent)
        assert conn.until_end_of_bytes() == b""


# --- a real HAProxy -------------------------------------------------------------------------------

PROXIES = {
    "send-proxy": ({"proxy_protocol": "on"}, {"send": "send-proxy"}),
    "send-proxy-v2": ({"proxy_protocol": "on"}, {"send": "send-proxy-v2"}),
    "send-proxy-v2 with TLVs": ({"proxy_protocol": "on"}, {
        "send": "send-proxy-v2 proxy-v2-options crc32c,unique-id",
        "lines": ["unique-id-format %{+X}o\\ %ci:%cp_%fi:%fp"]}),
    "forwardfor": ({"trusted_proxies": "127.0.0.1"}, {"mode": "http", "lines": ["option forwardfor"]}),
    "both": ({"proxy_protocol": "on", "trusted_proxies": "127.0.0.1,::1"}, {
        "mode": "http", "send": "send-proxy-v2", "lines": ["option forwardfor"]}),
}


@pytest.fixture(params=PROXIES)
def behind(request, start_server, haproxy):
    """A server with a limit of two per address, and a proxy in front of it."""
    ours, its = PROXIES[request.param]
    server = start_server(max_connections_per_address=2, log_level="debug", **ours)
    proxy = haproxy(server, **its)
    clients = []

    def connect(source="127.0.0.2", **more):
        conn = Client(proxy.port, source=source, **more)
        clients.append(conn)
        return conn

    connect.server, connect.proxy = server, proxy
    yield connect
    for conn in clients:
        conn.drop()


def test_clients_behind_haproxy_publish_and_subscribe(behind):
    one, two = behind("127.0.0.2"), behind("127.0.0.3")
    one.subscribe("t")
    two.publish("t", '"' + "x" * 100_000 + '"')
    assert one.recv_json() == "x" * 100_000
    one.publish("t", 2)
    assert one.recv_text() == "2"


def test_clients_behind_haproxy_are_counted_by_their_own_addresses(behind):
    here = [behind("127.0.0.2") for _ in range(2)]
    refused = behind("127.0.0.2", shake=False)
    refused.send(head())
    assert turned_away(refused)
    there = [behind("127.0.0.3") for _ in range(2)]
    here[0].drop()

    def place():
        conn = behind("127.0.0.2", shake=False)
        conn.send(head())
        if turned_away(conn):
            conn.drop()
            return False
        return True

    eventually(place, "a free place")
    refused = behind("127.0.0.3", shake=False)
    refused.send(head())
    assert turned_away(refused)
    for conn in (here[1], *there):
        conn.fence()


def test_the_log_names_the_client_behind_haproxy(behind):
    conn = behind("127.0.0.5")
    port = opened(behind.server, "127.0.0.5")
    if port:  # X-Forwarded-For tells no port
        assert int(port) == conn.sock.getsockname()[1]
    conn.send(raw.frame(3))
    conn.expect_close(1002)
    behind.server.wait_log(r"session closed.*protocol error.*address=127\.0\.0\.5")
    bad = behind("127.0.0.6", shake=False)
    bad.send(head(version="12"))
    assert bad.response().status == 426
    behind.server.wait_log(r"handshake refused.*status=426.*address=127\.0\.0\.6")
    assert "address=127.0.0.1:" not in behind.server.log()


def test_what_the_client_says_of_itself_changes_nothing(behind):
    conn = behind("127.0.0.5", extra=["X-Forwarded-For: 192.0.2.66", "X-Forwarded-For: 192.0.2.67"])
    conn.fence()
    opened(behind.server, "127.0.0.5")
    assert "192.0.2.6" not in behind.server.log()


@pytest.mark.parametrize("how", ["send-proxy", "send-proxy-v2"])
def test_health_checks_of_haproxy_are_answered(start_server, haproxy, how):
    server = start_server(proxy_protocol="on", max_connections_per_address=20)  # checks may overlap
    proxy = haproxy(server, send=f"{how} check inter 50ms", mode="http", lines=["option httpchk GET /readyz"])
    eventually(lambda: proxy.check_status() == "L7OK", "a good health check")
    with Client(proxy.port) as conn:
        conn.fence()


# --- headers by hand ------------------------------------------------------------------------------

@pytest.fixture
def proxied(start_server):
    return start_server(proxy_protocol="on", log_level="debug")


@pytest.mark.parametrize("make", [v1, v2])
@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
def test_a_header_may_be_cut_anywhere(start_server, make, address):
    server = start_server(proxy_protocol="on", log_level="debug", workers=1)
    header = make(address)
    for cut in range(len(header) + 1):
        with Raw(server.port) as conn:
            conn.send(header[:cut])
            conn.send(header[cut:], head())
            conn.upgraded()
    with Raw(server.port) as conn:
        for byte in header + head():
            conn.send(bytes([byte]))
        conn.upgraded()
    shown = f"[{address}]" if ":" in address else address
    server.wait_log(r"session opened.*address=" + re.escape(f"{shown}:4321"))
    assert "PROXY" not in server.log()


def test_header_handshake_and_frames_may_come_at_once(proxied):
    with Client(proxied.port, shake=False) as conn:
        conn.send(v2(), head(), raw.text(raw.command("subscribe", "t")))
        conn.greeted()
        conn.expect_subscribed("t")


@pytest.mark.parametrize("header", [V2_LOCAL, b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN a b c\r\n",
                                    V2 + b"\x21\0\0\0", V2 + b"\x21\x31\0\xd8" + bytes(216)])
def test_a_header_that_names_nobody_leaves_the_peer(proxied, header):
    conn = headed(proxied, header)
    conn.greeted()
    port = conn.sock.getsockname()[1]
    proxied.wait_log(rf"session opened.*address=127\.0\.0\.1:{port}\b")


def test_as_much_behind_the_addresses_as_4_KiB_is_skipped(proxied):
    headed(proxied, v2(more=b"\x04" + struct.pack(">H", 4065) + bytes(4065))).greeted()
    closed_at_once(proxied, V2 + b"\x21\x11" + struct.pack(">H", 4081))


@pytest.mark.parametrize("sent", [
    head(), b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"PROXY TCP4 1.2.3.4\r\n",
    b"PROXY TCP4 1.2.3.400 1.2.3.4 1 2\r\n", b"PROXY UNKNOWN " + b"x" * 100, b"\0" * 100,
    V2 + b"\x31\x11\0\x0c" + bytes(12), V2 + b"\x21\x11\0\x0b" + bytes(11),
    V2 + b"\x21\x77\0\x0c" + bytes(12), V2 + b"\x21\x11\xff\xff"])
def test_garbage_instead_of_a_header_is_closed_and_logged(proxied, sent):
    closed_at_once(proxied, sent)
    proxied.wait_log(r"info session closed.*no good PROXY header.*address=127\.0\.0\.1:")
    headed(proxied, v1()).greeted()


def test_a_second_header_is_no_request(proxied):
    conn = headed(proxied, v1() + v1())
    assert conn.response().status == 400
    proxied.wait_log(r"handshake refused.*status=400.*address=192\.0\.2\.7:4321")


def test_the_log_is_not_flooded_by_garbage(proxied):
    for _ in range(300):
        closed_at_once(proxied, b"x")
    assert proxied.log().count("no good PROXY header") < 150


@pytest.mark.parametrize("part", [b"", b"PROX", b"PROXY UNKNOWN ", V2, v2()[:-1], v2()])
def test_half_a_header_is_waited_for_until_the_handshake_times_out(start_server, part):
    server = start_server(proxy_protocol="on", handshake_seconds=milliseconds(200), log_level="debug")
    with Raw(server.port) as conn:
        conn.send(part)
        conn.expect_end()
    server.wait_log("session closed.*no handshake in time")


def test_half_a_header_may_be_the_last_of_a_client(proxied):
    for part in (b"", b"PROX", v2()[:-1]):
        for end in (Raw.half_close, Raw.drop, Raw.reset):
            with Raw(proxied.port) as conn:
                conn.send(part)
                end(conn)
                if end is Raw.half_close:
                    conn.expect_end()
    proxied.wait_log("session closed.*connection lost", count=5)
    headed(proxied, v1()).greeted()


def test_a_server_that_drains_ends_those_without_a_header(proxied):
    with Raw(proxied.port) as conn:
        conn.send(b"PROXY TCP4")
        headed(proxied, v1()).greeted()
        assert proxied.stop() == 0


def test_without_the_setting_a_header_is_no_request(start_server):
    server = start_server()
    for header in (v1(), v2()):
        assert headed(server, header).response().status == 400


def test_the_places_of_an_address_are_counted_from_header_to_end(start_server):
    server = start_server(proxy_protocol="on", max_connections_per_address=2, workers=1)
    conns = [headed(server, v1()) for _ in range(2)]
    for conn in conns:
        conn.greeted()
    assert turned_away(headed(server, v2("192.0.2.7", 1)))
    assert turned_away(headed(server, v1("::ffff:192.0.2.7")))
    headed(server, v1("192.0.2.8")).greeted()
    conns[0].drop()

    def place():
        conn = headed(server, v1())
        if turned_away(conn):
            conn.drop()
            return False
        return True

    eventually(place, "a free place")
    waiting = Raw(server.port)
    waiting.send(v1("192.0.2.9"))
    other = headed(server, v1("192.0.2.9"))
    other.greeted()
    assert turned_away(headed(server, v1("192.0.2.9")))
    waiting.send(head())
    waiting.upgraded()
    waiting.drop()


def test_a_full_server_says_so_to_clients_behind_proxies(start_server):
    server = start_server(proxy_protocol="on", max_connections=1, max_connections_per_address=1)
    headed(server, v1()).greeted()
    response = (conn := headed(server, v1())).response()
    assert response.status == 503 and b"as many connections as" in conn.body(response)


# --- X-Forwarded-For by hand ----------------------------------------------------------------------

def forwarded(server, *values, header=b"", source=None):
    conn = Client(server.port, shake=False, source=source)
    server.clients.append(conn)
    conn.send(header, head(extra=[f"X-Forwarded-For: {value}" for value in values]))
    return conn


@pytest.mark.parametrize("trusted,values,client", [
    ("127.0.0.1", ["192.0.2.7"], "192.0.2.7"),
    ("127.0.0.0/8", ["6.6.6.6, 192.0.2.7 , 127.3.2.1"], "192.0.2.7"),
    ("127.0.0.0/8", ["6.6.6.6", "192.0.2.7", "127.3.2.1"], "192.0.2.7"),
    ("127.0.0.1", ["2001:db8::7"], "2001:db8::7"),
    ("127.0.0.1", ["[2001:db8::7]:99"], "[2001:db8::7]:99"),
    ("127.0.0.1", ["192.0.2.7:99"], "192.0.2.7:99"),
    ("127.0.0.1", [], "127.0.0.1"),
    ("127.0.0.1", [""], "127.0.0.1"),
    ("127.0.0.1", ["192.0.2.7, unknown"], "127.0.0.1"),
    ("127.0.0.1", ["192.0.2.7; DROP TABLE"], "127.0.0.1"),
    ("127.0.0.1", [",".join(["127.0.0.1"] * 500)], "127.0.0.1"),
    ("127.0.0.2", ["192.0.2.7"], "127.0.0.1"),
    ("", ["192.0.2.7"], "127.0.0.1"),
    ("::/0", ["192.0.2.7"], "127.0.0.1"),
])
def test_x_forwarded_for_is_read_from_the_right_and_only_from_the_trusted(
        start_server, trusted, values, client):
    server = start_server(trusted_proxies=trusted, log_level="debug")
    forwarded(server, *values).greeted()
    found = server.wait_log(r"session opened.*address=(\S+)")[1]
    assert found == client or re.sub(r":\d+$", "", found) == client == "127.0.0.1"


def test_limits_are_those_of_the_client_where_the_proxy_is_trusted(start_server):
    server = start_server(trusted_proxies="127.0.0.1", max_connections_per_address=1)
    for client in ("192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::1"):
        forwarded(server, client).greeted()
        assert turned_away(forwarded(server, client))
    assert turned_away(forwarded(server, "2001:db8:0:1::2"))  # of the same /64
    forwarded(server).greeted()  # the proxy itself
    assert turned_away(forwarded(server))
    forwarded(server, "192.0.2.1", source="127.0.0.2").greeted()  # who is not trusted
    assert turned_away(forwarded(server, "192.0.2.3", source="127.0.0.2"))


def test_behind_a_proxy_header_its_source_has_to_be_trusted_not_its_sender(start_server):
    server = start_server(proxy_protocol="on", trusted_proxies="127.0.0.1,198.51.100.0/24",
                          log_level="debug", max_connections_per_address=1)
    forwarded(server, "6.6.6.6", header=v1("192.0.2.7")).greeted()
    opened(server, "192.0.2.7")
    forwarded(server, "192.0.2.8", header=v1("198.51.100.1")).greeted()
    opened(server, "192.0.2.8")
    assert turned_away(forwarded(server, "192.0.2.8", header=v2("198.51.100.2")))
    forwarded(server, "192.0.2.9", header=V2_LOCAL).greeted()
    opened(server, "192.0.2.9")
    assert "6.6.6.6" not in server.log()


# --- settings -------------------------------------------------------------------------------------

@pytest.mark.parametrize("name,value,word", [
    ("WS_TRUSTED_PROXIES", "10.0.0.0/8,nonsense", "nonsense"),
    ("WS_TRUSTED_PROXIES", "10.0.0.0/33", "10.0.0.0/33"),
    ("WS_TRUSTED_PROXIES", "10.1.2.3/8", "10.1.2.3/8"),
    ("WS_TRUSTED_PROXIES", "proxy.example.com", "proxy.example.com"),
    ("WS_TRUSTED_PROXIES", "10.0.0.1,", ""),
    ("WS_PROXY_PROTOCOL", "v2", "off, on"),
])
def test_a_bad_list_is_one_line_that_names_what_is_wrong(name, value, word):
    refuses(run("serve", **{name: value}), name, re.escape(word))
