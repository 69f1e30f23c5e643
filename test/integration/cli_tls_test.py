"""The command line through TLS: against the broker, and against servers of another kind."""

import contextlib
import ctypes
import json
import re
import socket
import ssl
import subprocess
import threading

import pytest

from cli_test import Command, fault, free_port, nothing_left_running, run  # noqa: F401
from fake_broker import FakeBroker
from hermes_fixtures import HERMES, clean_environment, eventually
from raw import DEADLINE
from test_bench import SMALL, bench, faults  # noqa: F401
from tls_support import OPENSSL, Authority, self_signed, start_tls, world  # noqa: F401


@pytest.fixture
def served(start_tls, world):  # noqa: F811
    """A broker with TLS, and the environment that a command needs to talk to it."""
    server = start_tls()
    server.env = {"HERMES_URL": server.tls.url, "HERMES_CA": world.ca}
    return server


def subscribed(env, *argv):
    sub = Command("sub", *argv, env=env)
    sub.wait_said("subscribed to ")
    return sub


class Wire:
    """Between a client and a server: hands on what they say in pieces of at most `piece` bytes, and
    can cut all connections."""

    def __init__(self, port, piece=1 << 16, answer=None):
        self.to, self.piece, self.answer = port, piece, answer
        self.ends = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()

    def cut(self):
        while self.ends:
            one = self.ends.pop()
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.to is None:
                    threading.Thread(target=self._reply, args=(near,), daemon=True).start()
                    continue
                far = socket.create_connection(("127.0.0.1", self.to))
                far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.ends += [near, far]
                for a, b in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(a, b), daemon=True).start()

    def _reply(self, near):
        with contextlib.suppress(OSError):
            near.recv(1 << 16)
            near.sendall(self.answer)
            near.shutdown(socket.SHUT_WR)
            near.recv(1 << 16)
        near.close()

    def _carry(self, a, b):
        with contextlib.suppress(OSError):
            while True:
                data = a.recv(1 << 16)
                for at in range(0, len(data), self.piece):
                    b.sendall(data[at:at + self.piece])
                if not data:
                    break
        for one in (a, b):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class SecureBroker(FakeBroker):
    """The fake broker behind Python's TLS, which is OpenSSL's."""

    def __init__(self, context, **more):
        self.context = context
        super().__init__(**more)
        self.url = f"wss://localhost:{self.port}"

    def _serve(self, one):
        try:
            one.sock.settimeout(DEADLINE)
            one.sock = self.context.wrap_socket(one.sock, server_side=True)
        except OSError:
            one.sock.close()
            return
        super()._serve(one)


def server_context(folder, certificate, version=None):
    pair = certificate.write(folder, f"openssl-{certificate.serial:x}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


# mbedTLS 3.6.6 offers signatures by PSS, which TLS 1.3 needs, and then refuses one in TLS 1.2, where a
# server with an RSA key makes it if that goes by an order of its own (Mbed-TLS/mbedtls#10674). To
# others the command line says that it would rather have PKCS1.
REFUSES_PSS = 0x03060600


def library_version():
    """The mbedTLS that the program runs with; 0 if that is in the program itself."""
    linked = subprocess.run(["ldd", HERMES], capture_output=True, text=True, check=False).stdout
    found = re.search(r"libmbedcrypto\S* => (\S+)", linked)
    return ctypes.CDLL(found[1]).mbedtls_version_get_number() if found else 0


# ---- it works as without ------------------------------------------------------------------------


def test_every_command_works_through_tls(served, world):  # noqa: F811
    sub = subscribed(served.env, "t", "-n", 3)
    run("pub", "t", '{"a":1}', env=served.env)
    run("pub", "--v2", "t", "-", stdin=b"2\n3\n", env=served.env)
    assert sub.lines(3) == ['{"a":1}', "2", "3"]
    sub.end()
    second = subscribed(served.env, "t")
    out, _ = run("topics", "--json", "--url", served.tls.url, "--ca", world.ca)
    assert json.loads(out)["topic"] == "t"
    assert len(run("presence", "t", env=served.env)[0].split()) == 1
    assert "history" in run("history", "t", env=served.env, code=1)[1]
    second.kill(2)
    second.end()


def test_large_messages_come_whole(start_tls, world):  # noqa: F811
    server = start_tls(max_message_bytes=4 << 20)
    env = {"HERMES_URL": server.tls.url, "HERMES_CA": world.ca}
    sub = subscribed(env, "t", "-n", 5)
    lines = [json.dumps("x" * (1 << 20) + str(n)) for n in range(4)] + ['"end"']
    run("pub", "t", "-", stdin="\n".join(lines).encode(), env=env)
    assert sub.lines(5) == lines
    sub.end()


@pytest.mark.parametrize("piece", [1, 7])
def test_it_does_not_matter_how_the_bytes_come(served, piece):
    with Wire(served.tls.port, piece) as wire:
        env = {**served.env, "HERMES_URL": f"wss://localhost:{wire.port}"}
        sub = subscribed(env, "t", "-n", 2)
        run("pub", "t", "-", stdin=b'"first"\n"second"\n', env=env)
        assert sub.lines(2) == ['"first"', '"second"']
        sub.end()


def test_who_is_cut_off_comes_back(served):
    with Wire(served.tls.port) as wire:
        sub = subscribed({**served.env, "HERMES_URL": f"wss://localhost:{wire.port}"}, "t")
        wire.cut()
        sub.wait_said("connected again")
        eventually(lambda: served.tls.counts("t") == {"t": 1}, "the subscription")
        run("pub", "t", "1", env=served.env)
        assert sub.lines(1) == ["1"]


def test_a_server_that_comes_back_is_found_again(start_tls, world):  # noqa: F811
    server = start_tls()
    env = {"HERMES_URL": server.tls.url, "HERMES_CA": world.ca}
    sub = subscribed(env, "t")
    server.stop()
    sub.wait_said("trying again")
    start_tls(port=server.tls.port)
    sub.wait_said("connected again")
    sub.wait_said("subscribed to t\n", 2)
    run("pub", "t", "1", env=env)
    assert sub.lines(1) == ["1"]


def test_a_server_s_own_environment_says_where_it_is(served, world):  # noqa: F811
    there = {"WS_PORT": served.tls.port, "WS_TLS_CERT": world.pair.certificate,
             "HERMES_CA": world.ca}
    run("pub", "t", "1", env=there)
    assert "TLS" in run("pub", "t", "1", env={**there, "WS_TLS_PORT": 1}, code=1)[1]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, None])
@pytest.mark.parametrize("kind", ["ec", "ec384", "rsa"])
def test_openssl_is_understood(world, tmp_path, kind, version):  # noqa: F811
    context = server_context(tmp_path, world.middle.issue(kind=kind), version)
    if version and kind == "rsa" and library_version() == REFUSES_PSS:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    with SecureBroker(context) as broker:
        env = {"HERMES_URL": broker.url, "HERMES_CA": world.ca}
        sub = subscribed(env, "t", "-n", 2)
        run("pub", "t", "-", stdin=b'"' + b"x" * 100000 + b'"\n2\n', env=env)
        assert sub.lines(2) == ['"' + "x" * 100000 + '"', "2"]
        sub.end()


# ---- whom it believes ---------------------------------------------------------------------------


@pytest.mark.parametrize("which, says", [
    ("host", "for another host"),
    ("stranger", "not from an authority that is trusted here; give its authority: --ca FILE"),
    ("self", "not from an authority that is trusted here; give its authority: --ca FILE"),
])
def test_a_certificate_that_is_no_good_ends_it(start_tls, world, which, says):  # noqa: F811
    one = {"host": lambda: world.root.issue("example.org", ["example.org"]),
           "stranger": lambda: Authority("somebody else").issue(),
           "self": self_signed}[which]()
    server = start_tls(certificate=one)
    argv = ("pub", "--url", server.tls.url, "t", "1")
    assert says in fault(*argv, "--ca", world.ca, code=1)
    run(*argv, "--insecure")


@pytest.mark.parametrize("days, says", [((-9, -1), "has expired"), ((1, 9), "is not valid yet")])
def test_dates_may_get_right(start_tls, world, days, says):  # noqa: F811
    server = start_tls(certificate=world.root.issue(days=days))
    sub = Command("sub", "t", env={"HERMES_URL": server.tls.url, "HERMES_CA": world.ca})
    sub.wait_said(says + "; trying again")
    world.pair.put(world.good)
    server.kill(1)
    sub.wait_said("subscribed to t\n")


def test_the_system_s_authorities_know_nothing_of_this_one(served):
    said = fault("pub", "t", "1", env={"HERMES_URL": served.tls.url}, code=1)
    assert "--ca FILE" in said or "cannot be read" in said


@pytest.mark.parametrize("argv, code, says", [
    (["--ca", "/nowhere/ca.pem"], 1, "/nowhere/ca.pem: cannot be read"),
    (["--ca", "/dev/null"], 1, "/dev/null: is not a file"),
    (["--cert", "{ca}"], 1, "no private key"),
    (["--key", "{ca}"], 2, "--cert"),
])
def test_bad_files_are_told_in_one_line(world, argv, code, says):  # noqa: F811
    argv = [a.format(ca=world.ca) for a in argv]
    assert says in fault("pub", "--url", "wss://localhost:1", *argv, "t", "1", code=code)
    assert says in fault("health", "--url", "https://localhost:1", *argv, code=code)


def test_a_client_may_show_a_certificate(start_tls, world, tmp_path):  # noqa: F811
    server = start_tls(tls_client_ca=world.ca)
    mine = world.root.client("robot").write(tmp_path, "robot")
    other = Authority("somebody else").client("robot").write(tmp_path, "other")
    both = tmp_path / "both.pem"
    both.write_text(mine.certificate.read_text() + mine.key.read_text())
    argv = ("pub", "--url", server.tls.url, "--ca", world.ca, "t", "1")
    run(*argv, "--cert", mine.certificate, "--key", mine.key)
    run(*argv, "--cert", both)
    run(*argv, env={"HERMES_CERT": mine.certificate, "HERMES_KEY": mine.key})
    assert "wants a certificate of the client; give one: --cert FILE" in fault(*argv, code=1)
    assert "does not accept the client's certificate" in fault(
        *argv, "--cert", other.certificate, "--key", other.key, code=1)


# ---- who is no such server ----------------------------------------------------------------------


@pytest.mark.parametrize("answer, says", [
    (b"", "the server closed the connection during the TLS handshake"),
    (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "the server does not speak TLS there"),
    (b"\x15\x03\x03\x00\x02\x02\x28", "no TLS cipher in common"),
    (b"\x15\x03\x03\x00\x02\x02\x46", "neither TLS 1.2 nor 1.3"),
    (b"\x15\x03\x03\x00\x02\x02\x70", "knows no host of that name"),
    (b"\x16\x03\x03\x40\x00" + b"\x00" * 100, "TLS handshake"),
])
def test_who_does_not_shake_hands_is_told(world, answer, says):  # noqa: F811
    with Wire(None, answer=answer) as wire:
        where = ("--url", f"wss://localhost:{wire.port}", "--ca", world.ca, "--timeout", 1)
        assert says in run("pub", *where, "t", "1", code=1)[1]
        assert says in fault("health", "--url", f"https://localhost:{wire.port}", "--timeout", 5, code=1)


def test_tls_at_one_end_only_is_told(served, start_server, world):  # noqa: F811
    said = fault("pub", "--url", f"ws://localhost:{served.tls.port}", "t", "1", code=1)
    assert "400 Bad Request: This port is for TLS" in said
    plain = start_server()
    said = run("pub", "--url", f"wss://localhost:{plain.port}", "--ca", world.ca, "--timeout", 1,
               "t", "1", code=1)[1]
    assert "the server does not speak TLS there" in said


def test_plain_bytes_to_openssl_are_told(world, tmp_path):  # noqa: F811
    with SecureBroker(server_context(tmp_path, world.good)) as broker:
        said = run("pub", "--url", f"ws://localhost:{broker.port}", "--timeout", 1, "t", "1", code=1)[1]
        assert "the server speaks TLS there: wss://" in said or "reset" in said


# ---- health -------------------------------------------------------------------------------------


def environment(world, server, **more):  # noqa: F811
    return {"WS_HOST": "127.0.0.1", "WS_PORT": server.tls.port,
            "WS_TLS_CERT": world.pair.certificate, "WS_TLS_KEY": world.pair.key, **more}


def test_health_finds_a_server_that_has_only_tls(start_tls, world):  # noqa: F811
    # Whatever its certificate says.
    server = start_tls(certificate=world.root.issue("example.org", ["example.org"], days=(-9, -1)))
    env = environment(world, server)
    assert run("health", env=env) == ("", "")
    assert run("health", "--ready", env=env) == ("", "")
    assert run("health", env={**env, "WS_TLS_PORT": "off"}) == ("", "")
    assert run("health", "--url", f"https://127.0.0.1:{server.tls.port}") == ("", "")
    assert "404" in fault("health", "--url", f"https://127.0.0.1:{server.tls.port}/x", code=1)
    # With a port of its own TLS is not on this one.
    assert "400" in fault("health", env={**env, "WS_TLS_PORT": 1}, code=1)


def test_health_with_both_ports_asks_the_plain_one(start_tls, world):  # noqa: F811
    server = start_tls(both=True)
    env = environment(world, server, WS_PORT=server.port, WS_TLS_PORT=server.tls.port)
    assert run("health", "--ready", env=env) == ("", "")


def test_health_checks_the_certificate_where_it_is_told_whom_to_believe(served, world, tmp_path):  # noqa: F811
    here = f"https://localhost:{served.tls.port}"
    assert run("health", "--url", here, "--ca", world.ca) == ("", "")
    other = tmp_path / "other.pem"
    other.write_text(Authority("somebody else").pem())
    assert "authority" in fault("health", "--url", here, "--ca", other, code=1)
    # What is in the environment for other commands is not about this question.
    assert run("health", "--url", here, env={"HERMES_CA": other}) == ("", "")


def test_health_without_the_certificate_that_is_wanted(start_tls, world, tmp_path):  # noqa: F811
    """Alive it is; what more there is to know it tells others."""
    server = start_tls(tls_client_ca=world.ca)
    env = environment(world, server, WS_TLS_CLIENT_CA=world.ca)
    out, said = run("health", env=env)
    assert out == "" and "it is alive" in said and said.count("\n") == 1
    assert run("health", "-q", env=env) == ("", "")
    assert "give one: --cert" in fault("health", "--ready", env=env, code=1)
    mine = world.root.client("robot").write(tmp_path, "robot")
    assert run("health", "--ready", "--cert", mine.certificate, "--key", mine.key, env=env) == ("", "")
    assert run("health", "--ready", env={**env, "HERMES_CERT": mine.certificate,
                                         "HERMES_KEY": mine.key}) == ("", "")
    other = Authority("somebody else").client("robot").write(tmp_path, "other")
    assert "does not accept" in fault(
        "health", "--cert", other.certificate, "--key", other.key, env=env, code=1)
    server.stop()
    assert "refused" in fault("health", env=env, code=1)


def test_health_asks_an_openssl_server_too(world):  # noqa: F811
    assert OPENSSL, "openssl is not installed: third_party/install.sh test"
    port = free_port()
    server = subprocess.Popen(
        [OPENSSL, "s_server", "-www", "-accept", f"127.0.0.1:{port}", "-cert",
         world.pair.certificate, "-key", world.pair.key],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def answers():
            return subprocess.run([HERMES, "health", "-q", "--ca", world.ca, "--url",
                                   f"https://localhost:{port}"], env=clean_environment(),
                                  check=False).returncode == 0

        eventually(answers, "its answer")
    finally:
        server.kill()
        server.wait()


# ---- hermes-bench -------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [
    ("fanout", "--subscribers", 4, "--publishers", 2, *SMALL),
    ("topics", "--subscribers", 5, "--topics", 10, "--per-subscriber", 4, *SMALL),
    ("pairs", "--pairs", 4, *SMALL, "--level", 2),
    ("connect", "--connections", 20, "--seconds", 0.1, "--subscribe", "own"),
    ("churn", "--connections", 3, "--seconds", 0.3, "--warmup", 0, "--payload", 80),
    ("storm", "--subscribers", 10, "--rounds", 1, "--seconds", 0.1, "--warmup", 0),
    ("soak", "--subscribers", 4, "--topics", 6, "--per-subscriber", 3, "--pairs", 3, "--connections",
     2, *SMALL),
])
def test_every_scenario_works_through_tls(bench, served, world, argv):  # noqa: F811
    done = bench(served.tls.url, *argv, "--ca", world.ca)
    faults(done)
    assert done.report["url"].startswith("wss://")
    assert done.report["settings"]["tls"] is True
    assert "wss://" in done.stdout


def test_the_bench_says_whom_it_does_not_believe(bench, served, world):  # noqa: F811
    (world.folder / "other.pem").write_text(Authority("somebody else").pem())
    done = bench(served.tls.url, "fanout", "--ca", "/nowhere/ca.pem", code=2)
    assert "/nowhere/ca.pem: cannot be read" in done.stderr
    done = bench(served.tls.url, "fanout", "--ca", world.folder / "other.pem", code=2)
    assert done.report is None and "authority" in done.stderr
