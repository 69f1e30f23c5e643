"""Certificates made while the tests run, and clients that speak TLS."""

import contextlib
import datetime
import functools
import ipaddress
import os
import re
import shutil
import ssl
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

import raw
from hermes_fixtures import clean_environment
from raw import DEADLINE, Client, Client2, Ended, Raw

OPENSSL = shutil.which("openssl")
LISTENING_TLS = r"listening .*\bport=(\d+).* tls=yes"
HERE = ("localhost", "127.0.0.1", "::1")


# --- certificates ---------------------------------------------------------------------------------

@functools.lru_cache(None)
def rsa_key(number=0):
    """Few of them: they take a while to make."""
    del number
    return rsa.generate_private_key(65537, 2048)


def make_key(kind, number=0):
    return rsa_key(number) if kind == "rsa" else ec.generate_private_key(
        {"ec": ec.SECP256R1, "ec384": ec.SECP384R1}[kind]())


def distinguished(common):
    """`common` None: a name of an organisation only."""
    oid, text = (NameOID.ORGANIZATION_NAME, "somebody") if common is None else (
        NameOID.COMMON_NAME, common)
    return x509.Name([x509.NameAttribute(oid, text)])


def alternative(name):
    if "@" in name:
        return x509.RFC822Name(name)
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


class Certificate:
    """With its key. `issuers`: what is sent behind it, the nearest first."""

    def __init__(self, certificate, key, issuers=()):
        self.certificate, self.key, self.issuers = certificate, key, issuers
        self.serial = certificate.serial_number

    @property
    def der(self):
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def pem(self):
        return b"".join(c.public_bytes(serialization.Encoding.PEM)
                        for c in (self.certificate, *self.issuers)).decode()

    def key_pem(self, password=None, form=serialization.PrivateFormat.PKCS8):
        how = (serialization.BestAvailableEncryption(password) if password
               else serialization.NoEncryption())
        return self.key.private_bytes(serialization.Encoding.PEM, form, how).decode()

    def write(self, folder, name="server"):
        """Its paths, as settings."""
        pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
        pair.put(self)
        return pair


class Pair:
    """Two files of which a server or a client is told."""

    def __init__(self, certificate, key):
        self.certificate, self.key = certificate, key

    def put(self, one):
        """Each at one stroke, as those do it who renew certificates."""
        replace(self.certificate, one.pem())
        replace(self.key, one.key_pem())

    @property
    def settings(self):
        return {"tls_cert": self.certificate, "tls_key": self.key}


def replace(path, text):
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    os.chmod(fresh, 0o600)
    fresh.rename(path)


class Authority:
    def __init__(self, name="a test's authority", by=None):
        self.key = make_key("ec")
        self.name = distinguished(name)
        self.by = by
        self.certificate = self._sign(self.name, self.key, by or self, (-2, 3650), authority=True)
        self.chain = (self.certificate, *by.chain) if by else ()

    @staticmethod
    def _sign(name, key, by, days, authority, alternatives=()):
        now = datetime.datetime.utcnow()
        builder = (x509.CertificateBuilder().subject_name(name).issuer_name(by.name)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now + datetime.timedelta(days=days[0]))
                   .not_valid_after(now + datetime.timedelta(days=days[1]))
                   .add_extension(x509.BasicConstraints(authority, None), True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(
                       by.key.public_key()), False))
        if alternatives:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([alternative(a) for a in alternatives]), False)
        if authority:
            builder = builder.add_extension(x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
                key_encipherment=False, data_encipherment=False, key_agreement=False,
                encipher_only=False, decipher_only=False), True)
        return builder.sign(by.key, hashes.SHA256())

    def issue(self, common="localhost", names=HERE, days=(-1, 30), kind="ec", number=0):
        key = make_key(kind, number)
        made = self._sign(distinguished(common), key, self, days, False, names)
        return Certificate(made, key, self.chain)

    def client(self, common, names=(), **more):
        return self.issue(common, names, **more)

    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()


def self_signed(common="localhost", names=HERE):
    one = Authority.__new__(Authority)
    one.key, one.name = make_key("ec"), distinguished(common)
    made = Authority._sign(one.name, one.key, one, (-1, 30), False, names)
    return Certificate(made, one.key)


class World:
    """An authority that clients believe, an intermediate one, and a certificate of the server."""

    def __init__(self, folder):
        self.folder = folder
        self.root = Authority()
        self.middle = Authority("another one in between", by=self.root)
        self.good = self.root.issue()
        self.pair = self.good.write(folder)
        self.ca = folder / "ca.crt"
        self.ca.write_text(self.root.pem())

    def context(self, certificate=None, **more):
        return context(self.ca, self.folder, certificate, **more)


def context(ca, folder=None, certificate=None, alpn=None, version=None, suites=None):
    """Of a client that believes `ca` (None: everything) and shows that certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # so that an end that was not told is not one
    if ca is None:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    else:
        made.load_verify_locations(ca)
    if certificate:
        pair = certificate.write(folder, f"client-{certificate.serial:x}")
        made.load_cert_chain(pair.certificate, pair.key)
    if alpn:
        made.set_alpn_protocols(alpn)
    if version:
        made.minimum_version = made.maximum_version = version
    if suites:
        made.set_ciphers(suites)
    return made


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


# --- clients --------------------------------------------------------------------------------------

class TlsRaw(Raw):
    """The same through TLS. `polite`: whether the end was told before it came (None: no end yet)."""

    def __init__(self, port, context, name="localhost", session=None, shake_tls=True, **more):
        super().__init__(port, **more)
        self.polite = None
        self.refusal = None
        self.sock = context.wrap_socket(self.sock, server_hostname=name, session=session,
                                        suppress_ragged_eofs=False, do_handshake_on_connect=False)
        if shake_tls:
            try:
                self.sock.do_handshake()
            except BaseException:
                self.sock.close()
                raise

    def _fill(self):
        try:
            piece = self.sock.recv(1 << 18)
        except ssl.SSLWantReadError as nothing:
            raise BlockingIOError from nothing
        except (ssl.SSLEOFError, ConnectionResetError, BrokenPipeError):
            piece, self.polite = b"", False
        except ssl.SSLError as refusal:
            piece, self.polite, self.refusal = b"", False, refusal
        else:
            if not piece:
                self.polite = True
        if not piece:
            raise Ended(f"{self.refusal or ''} with {bytes(self.buffer[self.at:][:200])!r} left")
        if self.at > 1 << 16:
            del self.buffer[: self.at]
            self.at = 0
        self.buffer += piece

    def half_close(self):
        self.sock.setblocking(False)
        with contextlib.suppress(ssl.SSLWantReadError):
            self.sock.unwrap()
        self.sock.settimeout(DEADLINE)

    def certificate(self):
        return self.sock.getpeercert(True)


class TlsClient(Client, TlsRaw):
    pass


class TlsClient2(Client2, TlsRaw):
    pass


class Tls:
    """A server as seen by clients that speak TLS and believe `context`."""

    def __init__(self, server, port, context):
        self.server, self.port, self.context = server, port, context
        self.url = f"wss://localhost:{port}"

    def _open(self, kind, **more):
        more.setdefault("context", self.context)
        conn = kind(self.port, **more)
        self.server.clients.append(conn)
        return conn

    def raw(self, **more):
        return self._open(TlsRaw, **more)

    def client(self, **more):
        return self._open(TlsClient, **more)

    def client2(self, **more):
        return self._open(TlsClient2, **more)

    def plain(self, **more):
        """To the same port, without TLS."""
        conn = Raw(self.port, **more)
        self.server.clients.append(conn)
        return conn

    def refuses(self, text=None, **more):
        """The server ends the handshake, or, as a client of TLS 1.3 sees it, what follows it."""
        with pytest.raises((ssl.SSLError, ConnectionError, Ended)) as refused:
            with TlsRaw(self.port, more.pop("context", self.context), **more) as conn:
                conn.send(raw.head())
                conn.response()
        if text:
            assert re.search(text, str(refused.value), re.I), refused.value
        return refused.value

    def counts(self, prefix=""):
        with TlsClient(self.port, context=self.context) as conn:
            return conn.counts(prefix)

    def answers(self):
        """It serves, which the certificate it shows is to prove."""
        with TlsClient(self.port, context=self.context) as conn:
            conn.fence()
            return conn.certificate()


@pytest.fixture
def start_tls(start_server, world):
    """A server with a certificate. `both`: with a plain port too, that of server.port."""

    def start(*flags, both=False, certificate=None, context=None, **more):
        pair = world.pair if certificate is None else certificate.write(world.folder)
        if both:
            more.setdefault("tls_port", 0)
        server = start_server(*flags, **{**pair.settings, **more})
        port = int(server.wait_log(LISTENING_TLS)[1])
        if both:
            server.port = int(server.wait_log(r"listening .*\bport=(\d+)(?!.* tls=yes)")[1])
            server.url = f"ws://127.0.0.1:{server.port}"
            assert server.port != port
        else:
            server.topic_counts = lambda prefix="": server.tls.counts(prefix)
        server.tls = Tls(server, port, context or world.context())
        return server

    return start


# --- openssl --------------------------------------------------------------------------------------

class Shown:
    """What openssl s_client said of a connection that it closed at once."""

    def __init__(self, code, text):
        self.code, self.text = code, text
        self.shaken = "SSL-Session:" in text and not re.search(r"Cipher *(:|is) *(0000|\(NONE\))", text)

    def find(self, pattern):
        found = re.search(pattern, self.text)
        return found and found[1]

    @property
    def suite(self):
        return self.find(r"Cipher +: (\S+)") or self.find(r"Cipher is (\S+)")


def s_client(port, *options, stdin=b"Q\n"):
    assert OPENSSL, "openssl is not installed: third_party/install.sh test"
    done = subprocess.run(
        [OPENSSL, "s_client", "-connect", f"127.0.0.1:{port}", *map(str, options)], input=stdin,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=clean_environment(),
        timeout=3 * DEADLINE, check=False)
    return Shown(done.returncode, done.stdout.decode("utf-8", "replace"))
