"""Batches by one submission to io_uring, and everything just the same without it."""

import contextlib
import ctypes
import errno
import os
import pathlib
import struct
import sys

import pytest

from hermes_fixtures import eventually, within
from raw import TEXT, command, publish_text

HERE = pathlib.Path(__file__).resolve().parent
USED = r"info sending by io_uring workers=(\d+)"
UNUSED = r'info sending without io_uring workers=\d+ reason="?([^"\n]+)'
WAYS = ["auto", "off", "refused"]


def kernel_allows_it():
    libc = ctypes.CDLL(None, use_errno=True)
    parameters = ctypes.create_string_buffer(120)
    fd = libc.syscall(425, 1, parameters)
    if fd < 0:
        return False
    os.close(fd)
    return bool(struct.unpack_from("I", parameters, 20)[0] & 1 << 9)  # IORING_FEAT_NATIVE_WORKERS


def refused(code=errno.EPERM):
    return (sys.executable, HERE / "without_io_uring.py", code)


@pytest.fixture(params=WAYS)
def start(request, start_server):
    """start_server, for each way of sending."""
    def start_one(**more):
        if request.param == "refused":
            return start_server(prefix=refused(), **more)
        return start_server(io_uring=request.param, **more)
    return start_one


def numbered(topic, n, size):
    return publish_text(topic, '"%06d%s"' % (n, "x" * (size - 8)))


def expect_numbered(client, first, count, size):
    for n in range(first, first + count):
        got = client.recv()
        assert got.opcode == TEXT and got.payload.startswith(b'"%06d' % n), (n, got.payload[:40])
        assert len(got.payload) == size


def rings(server):
    """How many the process has; later releases of libuv have one a loop themselves."""
    count = 0
    for entry in os.scandir(f"/proc/{server.pid}/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(entry.path) == "anon_inode:[io_uring]"
    return count


# Broken by a feature of the kernel taken for its lack, and by rings made though switched off: fails.
def test_it_is_used_where_the_kernel_lets_us_unless_it_is_switched_off(start_server):
    off = start_server(workers=2, io_uring="off")
    assert off.wait_log(UNUSED).group(1) == "switched off"
    server = start_server(workers=2)
    match = server.wait_log(f"{USED}|{UNUSED}")
    used = match.group(2) != "built without liburing" and kernel_allows_it()
    assert match.group(1) == ("2" if used else None), server.log()
    assert rings(server) == rings(off) + (2 if used else 0)


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS, errno.ENOMEM])
def test_refused_by_the_kernel_it_is_done_without(start_server, code):
    server = start_server(prefix=refused(code))
    reason = server.wait_log(UNUSED).group(1)
    if reason == "built without liburing":
        pytest.skip(reason)
    assert reason == {
        errno.EPERM: "operation not permitted",
        errno.ENOSYS: "function not implemented",
        errno.ENOMEM: "not enough memory",
    }[code]
    assert " warn " not in server.log() and " error " not in server.log()
    clients = [server.client() for _ in range(8)]
    for client in clients:
        client.subscribe("t")
    clients[0].publish("t", 1)
    for client in clients:
        assert client.recv_text() == "1"


# Broken by a flush that takes the ring's write for all there is, by a piece that goes on beyond its
# chunk, and by a write of a part taken for the whole: fails, as does what follows.
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("size", [64, 3000, 300_000])
def test_a_crowd_hears_every_message_once_and_in_order(start, workers, size):
    server = start(workers=workers)
    crowd = [server.client() for _ in range(20)]
    for client in crowd:
        client.subscribe("t")
    publisher = server.client()
    count = 300 if size < 1000 else 60
    readers = [within(expect_numbered, client, 0, count, size) for client in crowd]
    for n in range(0, count, 10):
        publisher.say(*(numbered("t", k, size) for k in range(n, n + 10)))
    for reader in readers:
        reader.result()
    for client in crowd:
        client.fence()  # nothing came twice


def test_two_topics_keep_their_order_in_a_crowd_that_hears_both(start):
    server = start(workers=1)
    crowd = [server.client() for _ in range(12)]
    for client in crowd:
        client.subscribe("a")
        client.subscribe("b")
    publisher = server.client()
    for n in range(100):
        publisher.say(*(numbered("ab"[k % 3 == 0], n * 10 + k, 100) for k in range(10)))
    for client in crowd:
        expect_numbered(client, 0, 1000, 100)


def test_who_reads_late_amid_a_crowd_misses_nothing(start):
    server = start(workers=1, max_backlog_bytes="32m")
    late = [server.client(rcvbuf=4096) for _ in range(6)]
    crowd = [server.client() for _ in range(6)]
    for client in late + crowd:
        client.subscribe("t")
    publisher = server.client()
    readers = [within(expect_numbered, client, 0, 400, 30_000) for client in crowd]
    for n in range(400):
        publisher.say(numbered("t", n, 30_000))
    publisher.fence()
    for reader in readers:
        reader.result()
    readers = [within(expect_numbered, client, 0, 400, 30_000) for client in late]
    for reader in readers:
        reader.result()
    for client in late + crowd:
        client.fence()


def test_who_stalls_amid_a_crowd_is_cut_and_nobody_else_notices(start):
    server = start(workers=1, max_backlog_bytes="2500k")
    stalled = [server.client(rcvbuf=4096) for _ in range(6)]
    crowd = [server.client() for _ in range(6)]
    for client in stalled + crowd:
        client.subscribe("t")
    publisher = server.client()
    for n in range(600):
        publisher.say(numbered("t", n, 30_000))
        for client in crowd:
            expect_numbered(client, n, 1, 30_000)
    eventually(lambda: server.topic_counts("t") == {"t": len(crowd)}, "the end of those who stall")
    for client in stalled:
        frames = client.until_end()
        for n, got in enumerate(frames[:-1]):
            assert got.payload.startswith(b'"%06d' % n), (n, got.payload[:40])
    for client in crowd:
        client.fence()


def test_who_comes_gets_no_bytes_of_who_left_amid_a_storm(start):
    server = start(workers=1)
    stayers = [server.client() for _ in range(8)]
    for client in stayers:
        client.subscribe("t")
    publisher = server.client()
    count = 0
    for _ in range(30):
        leavers = [server.client() for _ in range(8)]
        for client in leavers:
            client.say(command("subscribe", "t"))
        publisher.say(*(numbered("t", count + k, 2000) for k in range(20)))
        count += 20
        for client in leavers:
            client.reset()
        comers = [server.client() for _ in range(8)]
        for client in comers:
            client.fence()  # not subscribed: hears nothing but the answer
            client.drop()
    for client in stayers:
        expect_numbered(client, 0, count, 2000)
        client.fence()
