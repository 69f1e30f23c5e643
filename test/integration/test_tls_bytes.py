"""What is hard about bytes: requests right behind a handshake, records of all sizes, each suite, and
files as people have them."""

import socket
import ssl
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization

import raw
from hermes_fixtures import clean_environment, eventually, settings
from raw import Client, command, head, publish_text, text
from test_auth import SECRET
from test_start import refuses, run
from test_tls import ByHand
from tls_support import OPENSSL, TlsClient, s_client, start_tls, world  # noqa: F401


# --- right behind the handshake -------------------------------------------------------------------

def resumed(server, first):
    """A handshake by hand that resumes; what the client says last in it, and a request behind it."""
    hand = ByHand(server.tls.context, session=first.sock.session)
    conn = server.tls.plain()
    conn.send(hand.shake())
    out = hand.shake(conn.sock.recv(1 << 16))
    while not hand.done:
        conn.send(out)
        out = hand.shake(conn.sock.recv(1 << 16))
    assert hand.ssl.session_reused
    hand.ssl.write(head())
    hand.ssl.write(text(command("subscribe", "t")) + text(publish_text("t", 1)))
    return conn, hand, out + hand.outgoing.read()


def heard(conn, hand):
    """All up to the message of its own."""
    got = b""
    while not got.endswith(b"\x81\x011"):
        hand.incoming.write(conn.sock.recv(1 << 16))
        try:
            while True:
                got += hand.ssl.read(1 << 16)
        except ssl.SSLWantReadError:
            continue
    assert got.startswith(b"HTTP/1.1 101 ") and got.count(b"ack_subscribe") == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, None])
def test_what_comes_right_behind_a_handshake_is_not_lost_wherever_it_is_cut(start_tls, world, version):
    server = start_tls(workers=1, context=world.context(version=version))
    first = server.tls.client()
    size = len(resumed(server, first)[2])
    for cut in [*range(0, size, 5), size]:
        conn, hand, out = resumed(server, first)
        conn.send(out[:cut])
        conn.send(out[cut:])
        heard(conn, hand)
        conn.drop()


def test_a_request_right_behind_a_whole_handshake(start_tls, world):
    server = start_tls(workers=1)
    hand = ByHand(world.context())
    with server.tls.plain() as conn:
        out = hand.shake()
        while not hand.done:
            conn.send(out)
            out = hand.shake(conn.sock.recv(1 << 16))
        hand.ssl.write(head())
        hand.ssl.write(text(command("subscribe", "t")) + text(publish_text("t", 1)))
        conn.send(out + hand.outgoing.read())
        heard(conn, hand)


# --- records, through openssl as a pipe -----------------------------------------------------------

class Piped(Client):
    """Level 1, through openssl s_client with any of its options."""

    def __init__(self, server, *options):
        self.sock, other = socket.socketpair()
        self.sock.settimeout(raw.DEADLINE)
        self.buffer, self.at = bytearray(), 0
        self.process = subprocess.Popen(
            [OPENSSL, "s_client", "-quiet", "-connect", f"127.0.0.1:{server.tls.port}",
             *map(str, options)], stdin=other, stdout=other, stderr=subprocess.DEVNULL,
            env=clean_environment())
        other.close()
        server.clients.append(self)
        self.send(head())
        self.greeted()

    def drop(self):
        super().drop()
        self.process.kill()
        self.process.wait()


def exchange(client, sizes):
    client.subscribe("t")
    for size in sizes:
        data = '"' + ("%08d" % size) * (size // 8 + 1) + '"'
        client.publish("t", data)
        assert client.recv_text() == data


@pytest.mark.parametrize("options", [
    ["-maxfraglen", 512], ["-maxfraglen", 4096], ["-max_send_frag", 512], ["-tls1_2"], ["-bugs"],
    ["-cipher", "ECDHE-RSA-AES256-GCM-SHA384"], ["-cipher", "ECDHE-RSA-CHACHA20-POLY1305"],
    ["-curves", "X25519"], ["-curves", "P-384"], ["-curves", "P-521"]])
def test_any_way_to_cut_and_to_encrypt_carries_messages(start_tls, world, options):
    # mbedTLS cuts no messages of a handshake: its certificate has to be a small one.
    server = start_tls(certificate=world.root.issue(kind="ec" if "-maxfraglen" in options else "rsa"))
    exchange(Piped(server, *options), [1, 400, 511, 513, 5000, 16384, 100_000, 900_000])


@pytest.mark.parametrize("curves", ["P-224", "secp256k1", "X448"])
def test_curves_that_are_not_wanted_are_refused(start_tls, world, curves):
    server = start_tls(certificate=world.root.issue(kind="rsa"))
    assert "Cipher is (NONE)" in s_client(server.tls.port, "-tls1_2", "-curves", curves).text
    server.wait_log("TLS handshake failed")
    server.tls.answers()


# --- at the door ----------------------------------------------------------------------------------

def test_both_families_have_both_ports(start_tls):
    server = start_tls(both=True, host="")
    for host in ("127.0.0.1", "::1"):
        with Client(server.port, host=host) as plain:
            plain.fence()
        with TlsClient(server.tls.port, context=server.tls.context, host=host) as secret:
            secret.fence()


def test_one_port_cannot_be_both(world):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    refuses(run("serve", **settings({**world.pair.settings, "port": port, "tls_port": port})), str(port))


def test_places_of_those_who_never_shake_hands_are_free_again(start_tls):
    server = start_tls(max_connections=3, workers=1)
    silent = [server.tls.plain() for _ in range(2)]
    silent[1].send(b"\x16")
    conn = server.tls.client()
    with server.tls.raw() as refused:
        refused.send(head())
        assert refused.response().status == 503
    for one in silent:
        one.drop()
    conn.fence()
    kept = []

    def let_in():
        one = server.tls.raw()
        one.send(head())
        if one.response().status == 101:
            kept.append(one)
            return True
        one.drop()
        return False

    for _ in range(2):
        eventually(let_in, "a free place")


def test_who_comes_while_it_drains_is_told_so_through_tls(start_tls):
    server = start_tls(drain_delay_seconds="300s", workers=1)
    conn = server.tls.client()
    server.kill(15)
    server.wait_log("draining")
    with server.tls.raw() as late:
        late.send(head("/readyz", key=None, version=None, upgrade=None, connection="close"))
        assert late.response().status == 503
    with server.tls.raw() as late:
        late.send(head())
        response = late.response()
        assert response.status == 503 and response.header("retry-after")
    conn.fence()
    server.kill(15)
    server.expected_exit = None


# --- files as people have them --------------------------------------------------------------------

def traditional(one):
    return one.key_pem(form=serialization.PrivateFormat.TraditionalOpenSSL)


FORMS = {
    "lines of Windows": lambda c: (c.pem().replace("\n", "\r\n"), c.key_pem().replace("\n", "\r\n")),
    "text around": lambda c: ("Certificate:\n  Data:\n" + c.pem() + "\n# the end\n",
                              "Bag Attributes: <none>\n" + c.key_pem()),
    "the key first": lambda c: (c.key_pem() + c.pem(), None),
    "the key last": lambda c: (c.pem() + c.key_pem(), None),
    "a key as of old": lambda c: (c.pem(), traditional(c)),
    "with parameters": lambda c: (
        c.pem(), "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        + traditional(c)),
    "no newline at the end": lambda c: (c.pem().rstrip(), c.key_pem().rstrip()),
}


@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("form", FORMS)
def test_files_may_be_of_any_usual_form(start_tls, world, form, kind):
    if (form, kind) == ("with parameters", "rsa"):
        return
    good = world.middle.issue(kind=kind)
    certificate, key = FORMS[form](good)
    (world.folder / "c").write_bytes(certificate.encode())
    more = {"tls_cert": world.folder / "c", "tls_key": ""}
    if key:
        (world.folder / "k").write_bytes(key.encode())
        more["tls_key"] = world.folder / "k"
    server = start_tls(**more)
    assert server.tls.answers() == good.der


def test_a_clients_certificate_may_be_large(start_tls, world):
    server = start_tls(tls_client_ca=world.ca, context=world.context(world.root.client("alice")))
    large = world.root.client("bob", [f"host-{n}.example.com" for n in range(350)], kind="rsa")
    assert len(large.der) > 7000
    server.tls.client(context=world.context(large)).fence()


def test_who_is_denied_by_name_is_denied_with_a_certificate_too(start_tls, world, tmp_path):
    deny = tmp_path / "deny.json"
    deny.write_text('{"sub": ["mallory"]}')
    server = start_tls(tls_client_ca=world.ca, jwt_secret=SECRET, jwt_deny=deny,
                       context=world.context(world.root.client("alice")))
    alice = server.tls.client()
    with server.tls.raw(context=world.context(world.root.client("mallory"))) as conn:
        conn.send(head())
        assert conn.response().status == 401
    alice.fence()
    deny.write_text('{"sub": ["alice"]}')
    server.kill(1)
    alice.expect_close(4003)
    with server.tls.raw() as conn:
        conn.send(head())
        assert conn.response().status == 401
