"""Certificates that change while the broker runs: by SIGHUP, and by themselves."""

import os
import signal
import threading

import pytest

from hermes_fixtures import eventually, within
from raw import Ended, command, head, publish_text
from tls_support import Authority, TlsClient, TlsRaw, context, replace, start_tls, world  # noqa: F401
from test_tls import ByHand

TAKEN = r" info .*subject="
KEPT = r" error .*certificate.* not loaded|error .*the old (one|ones|certificate) stays?"


def taken(server, count=1):
    """Up to the count-th time that a certificate is told of, the start's included."""
    server.wait_log(TAKEN, count)


def settle(server, serial):
    """Until every worker has taken it: connections go to them in turn."""
    good = 0
    while good < 8:
        with TlsRaw(server.tls.port, server.tls.context) as conn:
            good = good + 1 if conn.certificate() == serial else 0


def exchange(one, n):
    one.publish("t", n)
    assert one.recv_json() == n


@pytest.fixture
def clients(world):
    """Subscribed to one topic each."""
    def make(server, count=4):
        made = [server.tls.client() for _ in range(count)]
        for client in made:
            client.subscribe("t")
        return made
    return make


# Broken by sessions that are ended with the certificate they began with.
@pytest.mark.parametrize("workers", [1, 3])
def test_sighup_gives_the_new_certificate_to_the_new_and_lets_the_old_stay(start_tls, world, workers):
    server = start_tls(workers=workers)
    old = [server.tls.client() for _ in range(6)]
    for n, client in enumerate(old):
        client.subscribe(f"t{n}")
        assert client.certificate() == world.good.der
    fresh = world.root.issue()
    world.pair.put(fresh)
    server.kill(signal.SIGHUP)
    taken(server, 2)
    settle(server, fresh.der)
    new = server.tls.client()
    assert new.certificate() == fresh.der
    for n, client in enumerate(old):
        new.publish(f"t{n}", n)
        assert client.recv_json() == n
        client.publish(f"t{n}", '"' + "x" * 100_000 + '"')
        assert client.recv_json() == "x" * 100_000
        assert client.certificate() == world.good.der


@pytest.mark.parametrize("kinds", [("ec", "rsa"), ("rsa", "ec")])
def test_a_key_of_another_kind_may_follow(start_tls, world, kinds):
    first, second = (world.root.issue(kind=kind) for kind in kinds)
    server = start_tls(certificate=first)
    old = server.tls.client()
    world.pair.put(second)
    server.kill(signal.SIGHUP)
    settle(server, second.der)
    old.fence()
    server.tls.answers()


@pytest.mark.parametrize("way", ["renamed", "written", "linked"])
def test_files_that_change_are_taken_by_themselves(start_tls, world, way):
    fresh = world.root.issue()
    if way == "linked":  # as orchestrators do it: a link to a folder is changed
        for name, one in (("1", world.good), ("2", fresh)):
            (world.folder / name).mkdir()
            one.write(world.folder / name)
        link = world.folder / "now"
        link.symlink_to("1")
        server = start_tls(tls_cert=link / "server.crt", tls_key=link / "server.key")
    else:
        server = start_tls()
    old = server.tls.client()
    if way == "linked":
        other = world.folder / "next"
        other.symlink_to("2")
        other.rename(link)
    elif way == "renamed":
        world.pair.put(fresh)
    else:
        world.pair.key.write_text(fresh.key_pem())
        world.pair.certificate.write_text(fresh.pem())
    taken(server, 2)
    settle(server, fresh.der)
    old.fence()
    assert old.certificate() == world.good.der
    assert " error " not in server.log(), "half of a change was taken"
    assert server.stop() == 0
    assert server.log().count("subject=") == 2


def bad_pairs(world):
    other = world.root.issue()
    return {
        "key of another": lambda: replace(world.pair.key, other.key_pem()),
        "certificate of another": lambda: replace(world.pair.certificate, other.pem()),
        "no certificate": lambda: replace(world.pair.certificate, "nothing\n"),
        "half a certificate": lambda: replace(world.pair.certificate, other.pem()[:300]),
        "an empty key": lambda: replace(world.pair.key, ""),
        "an encrypted key": lambda: replace(world.pair.key, world.good.key_pem(b"secret")),
        "no file": world.pair.certificate.unlink}


@pytest.mark.parametrize("how", [
    "key of another", "certificate of another", "no certificate", "half a certificate",
    "an empty key", "an encrypted key", "no file"])
def test_a_bad_pair_keeps_the_old_one_and_says_why(start_tls, world, how):
    server = start_tls()
    old = server.tls.client()
    bad_pairs(world)[how]()
    server.kill(signal.SIGHUP)
    line = server.wait_log(rf"^.*({KEPT}).*$")[0]
    assert "server." in line and "reason=" in line
    for _ in range(4):
        assert server.tls.answers() == world.good.der
    fresh = world.root.issue()
    world.pair.put(fresh)
    server.kill(signal.SIGHUP)
    settle(server, fresh.der)
    old.fence()


@pytest.mark.parametrize("how", ["key of another", "no file"])
def test_a_bad_pair_that_is_found_is_told_of_once(start_tls, world, how):
    server = start_tls()
    folder = world.folder / "other"
    folder.mkdir()
    other = world.good.write(folder)
    clock = start_tls(**other.settings)
    bad_pairs(world)[how]()
    server.wait_log(KEPT)
    assert server.tls.answers() == world.good.der
    fresh = world.root.issue()
    other.put(fresh)
    taken(clock, 2)  # it looks as often: the first one has looked again by now
    world.pair.put(fresh)
    taken(server, 2)
    settle(server, fresh.der)
    errors = [line for line in server.lines() if " error " in line]
    assert len(errors) == 1, errors


def test_a_certificate_that_has_expired_is_taken_and_warned_of(start_tls, world):
    server = start_tls(context=context(None))
    expired = world.root.issue(days=(-20, -1))
    world.pair.put(expired)
    server.kill(signal.SIGHUP)
    server.wait_log(r" warn .*server\.crt: the certificate has expired on")
    settle(server, expired.der)


def test_what_did_not_change_keeps_its_tickets(start_tls, world):
    server = start_tls(workers=2)
    first = server.tls.client()
    server.kill(signal.SIGHUP)
    os.utime(world.pair.certificate)
    for _ in range(6):
        assert server.tls.client(session=first.sock.session).sock.session_reused
    fresh = world.root.issue()
    world.pair.put(fresh)
    server.kill(signal.SIGHUP)
    settle(server, fresh.der)
    for _ in range(4):
        again = server.tls.client(session=first.sock.session)
        assert not again.sock.session_reused and again.certificate() == fresh.der


def test_a_handshake_that_was_begun_with_the_old_one_is_finished_with_it(start_tls, world):
    server = start_tls(workers=1)
    hand = ByHand(world.context())
    conn = server.tls.plain()
    conn.send(hand.shake())
    answer = hand.shake(conn.sock.recv(1 << 16))
    fresh = world.root.issue()
    world.pair.put(fresh)
    server.kill(signal.SIGHUP)
    settle(server, fresh.der)
    conn.send(answer)
    while not hand.done:
        conn.send(hand.shake(conn.sock.recv(1 << 16)))
    hand.ssl.write(head())
    conn.send(hand.outgoing.read())
    got = b""
    while b"101 Switching" not in got:
        hand.incoming.write(conn.sock.recv(1 << 16))
        try:
            got += hand.ssl.read(1 << 16)
        except OSError:
            continue
    assert hand.ssl.getpeercert(True) == world.good.der


def test_other_authorities_of_clients_are_taken_and_those_who_are_in_stay(start_tls, world):
    first, second = Authority("first"), Authority("second")
    ca = world.folder / "clients.crt"
    ca.write_text(first.pem())
    alice = world.context(first.client("alice"))
    bob = world.context(second.client("bob"))
    server = start_tls(tls_client_ca=ca, context=alice, workers=2)
    old = server.tls.client()
    server.tls.refuses(context=bob)
    replace(ca, second.pem())
    server.kill(signal.SIGHUP)
    taken(server, 2)

    def in_with(own):
        try:
            with TlsClient(server.tls.port, context=own) as conn:
                conn.fence()
            return True
        except (OSError, Ended):
            return False

    eventually(lambda: all(in_with(bob) for _ in range(4)), "bob is let in")
    for _ in range(4):
        assert not in_with(alice)
    old.fence()
    replace(ca, "nobody\n")
    server.kill(signal.SIGHUP)
    server.wait_log(r" error .*clients\.crt")
    assert in_with(bob)
    replace(ca, first.pem() + second.pem())  # without a signal
    eventually(lambda: all(in_with(alice) and in_with(bob) for _ in range(4)), "both are let in")


def test_rules_and_certificates_do_not_wait_for_each_other(start_tls, world):
    rules = [{"match": "shut", "subscribe": "nobody"}]
    server = start_tls(rules=[], workers=1)
    replace(world.pair.key, "nothing\n")
    server.write_rules(rules)
    server.kill(signal.SIGHUP)
    server.wait_log("rules loaded rules=1")
    server.wait_log(KEPT)
    client = server.tls.client()
    client.say(command("subscribe", "shut"))
    client.expect_error()
    fresh = world.root.issue()
    world.pair.put(fresh)
    server.write_rules("nonsense")
    server.kill(signal.SIGHUP)
    server.wait_log("rules not loaded")
    settle(server, fresh.der)


# Broken by dropping the connections of a worker that takes a certificate.
@pytest.mark.parametrize("workers", [1, 3])
def test_reloads_under_load_lose_no_connection_and_no_message(start_tls, world, workers):
    server = start_tls(workers=workers, both=True)
    chosen = [world.good] + [world.root.issue(kind=kind) for kind in ("ec", "rsa", "ec")]
    pairs = 4
    over = threading.Event()
    old = []
    for n in range(pairs):
        kind = (server.tls.client, server.client)[n % 4 == 3]
        publisher, subscriber = server.tls.client(), kind()
        subscriber.subscribe(f"t{n}")
        old.append((n, publisher, subscriber))

    def talk(n, publisher, subscriber):
        """Until all is over, a few in flight; how many there were."""
        count = 0
        while not over.is_set():
            publisher.say(*(publish_text(f"t{n}", '[%d,"%s"]' % (k, "x" * (k % 50 * 400)))
                            for k in range(count, count + 10)))
            for k in range(count, count + 10):
                got = subscriber.recv_json()
                assert got == [k, "x" * (k % 50 * 400)]
            count += 10
        return count

    def come_and_go():
        """New ones all the while: how many, and what they were shown."""
        shown, count = set(), 0
        while not over.is_set():
            with TlsClient(server.tls.port, context=server.tls.context) as conn:
                conn.fence()
                shown.add(conn.certificate())
                count += 1
        return shown, count

    talkers = [within(talk, *one) for one in old]
    comers = [within(come_and_go) for _ in range(2)]
    try:
        for turn in range(1, 13):
            one = chosen[turn % len(chosen)]
            if turn % 4 == 3:  # a bad one
                replace(world.pair.key, "nothing\n")
                server.kill(signal.SIGHUP)
                server.wait_log(KEPT, turn // 4 + 1)
                continue
            world.pair.put(one)
            server.kill(signal.SIGHUP)
            settle(server, one.der)
    finally:
        over.set()
    assert all(talker.result() > 0 for talker in talkers)
    for comer in comers:
        shown, count = comer.result()
        assert count > 0 and shown <= {one.der for one in chosen}
    for _, publisher, subscriber in old:
        publisher.fence()
        subscriber.fence()
    assert "session closed" not in server.log()


def test_many_reloads_leave_nothing_open(start_tls, world):
    server = start_tls(workers=2)
    server.tls.answers()
    kept = server.tls.client()
    two = [world.good, world.root.issue()]
    count = None
    for turn in range(1, 21):
        one = two[turn % 2]
        world.pair.put(one)
        server.kill(signal.SIGHUP)
        settle(server, one.der)
        if turn == 2:
            count = eventually(lambda: len(os.listdir(f"/proc/{server.pid}/fd")))
    eventually(lambda: len(os.listdir(f"/proc/{server.pid}/fd")) <= count, "no more descriptors")
    kept.fence()
