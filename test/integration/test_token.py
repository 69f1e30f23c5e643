"""Tokens that others make, as 'hermes token show' verifies them, and its own, as others do."""

import base64
import datetime
import json
import time

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from cli_test import fault, run

SECRET = "an example of a secret that is long enough"
CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
DIGESTS = ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512"]


@pytest.fixture(scope="module")
def keys():
    made = {name: ec.generate_private_key(curve()) for name, curve in CURVES.items()}
    rsa_key = rsa.generate_private_key(65537, 2048)
    return {**made, "RS256": rsa_key, "RS384": rsa_key, "RS512": rsa_key}


def private_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def public_pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM,
                                         serialization.PublicFormat.SubjectPublicKeyInfo)


def certificate(key):
    """Expired long ago: only its key counts."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tokens")])
    day = datetime.datetime(2001, 1, 1)
    return (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(1).not_valid_before(day).not_valid_after(day + datetime.timedelta(1))
            .sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def number(n, size=None):
    data = n.to_bytes(size or (n.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(key, **more):
    n = key.public_key().public_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        return {"kty": "RSA", "n": number(n.n), "e": number(n.e), **more}
    size = (key.key_size + 7) // 8
    curve = {256: "P-256", 384: "P-384", 521: "P-521"}[key.key_size]
    return {"kty": "EC", "crv": curve, "x": number(n.x, size), "y": number(n.y, size), **more}


@pytest.fixture
def file(tmp_path):
    def make(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def claims(**more):
    return {"sub": "alice", "exp": int(time.time()) + 60, **more}


def show(*options, code=0, token):
    out, err = run("token", "show", *options, "-", stdin=token.encode(), code=code)
    return json.loads(out), err


def signing(keys, alg):
    return SECRET if alg.startswith("HS") else keys[alg]


def verifying(keys, alg, file):
    if alg.startswith("HS"):
        return ["--secret-file", file("secret", SECRET)]
    return ["--public-key", file("public.pem", public_pem(keys[alg]))]


@pytest.mark.parametrize("alg", DIGESTS)
def test_a_token_of_pyjwt_holds(alg, keys, file):
    said = claims(hermes={"subscribe": ["a:*"]}, aud=["x", "chat"], iss="me")
    token = jwt.encode(said, signing(keys, alg), algorithm=alg)
    options = verifying(keys, alg, file)
    shown, err = show(*options, token=token)
    assert shown == {"header": {"alg": alg, "typ": "JWT"}, "claims": said}
    assert "The token holds." in err and "VERIFIED" not in err
    show(*options, "--aud", "chat", "--iss", "me", token=token)
    head, signature = token.rsplit(".", 1)
    forged = head + "." + ("B" if signature[0] == "A" else "A") + signature[1:]
    assert "signature does not hold" in show(*options, token=forged, code=1)[1]


@pytest.mark.parametrize("alg", DIGESTS)
def test_pyjwt_takes_our_tokens(alg, keys, file):
    sign = (["--secret-file", file("s", SECRET + "\n")] if alg.startswith("HS") else
            ["--key", file("k", private_pem(keys[alg]))])
    before = int(time.time())
    out, err = run("token", "make", *sign, "--alg", alg, "--kid", "k1", "--sub", "ünal", "--exp", "90s",
                   "--subscribe", "a:*", "--subscribe", "b", "--publish", "c:>", "--presence",
                   "--aud", "chat", "--iss", "me", "--jti", "7")
    assert err == ""
    token = out.strip()
    key = SECRET if alg.startswith("HS") else keys[alg].public_key()
    said = jwt.decode(token, key, algorithms=[alg], audience="chat", issuer="me")
    assert before <= said["iat"] <= time.time()
    assert said.pop("exp") - said.pop("iat") == 90
    assert said == {"sub": "ünal", "aud": "chat", "iss": "me", "jti": "7",
                    "hermes": {"subscribe": ["a:*", "b"], "publish": ["c:>"], "presence": True}}
    assert jwt.get_unverified_header(token)["kid"] == "k1"


def test_keys_may_be_certificates_or_jwk_sets_and_have_names(keys, file):
    named = jwt.encode(claims(), keys["ES256"], algorithm="ES256", headers={"kid": "one"})
    other = jwt.encode(claims(), keys["ES384"], algorithm="ES384", headers={"kid": "two"})
    swapped = jwt.encode(claims(), keys["ES256"], algorithm="ES256", headers={"kid": "two"})
    plain = jwt.encode(claims(), keys["RS256"], algorithm="RS512")
    files = [
        file("pem", b"kid: one\n" + public_pem(keys["ES256"]) + b"kid: two\n" +
             certificate(keys["ES384"]) + b"kid: three\n" + public_pem(keys["RS256"])),
        file("set.json", json.dumps({"keys": [
            jwk(keys["ES256"], kid="one", use="sig"), jwk(keys["ES384"], kid="two", alg="ES384"),
            jwk(keys["RS256"], kid="three"), {"kty": "OKP", "crv": "Ed25519", "x": "AA"}]})),
    ]
    for path in files:
        for token in (named, other, plain):
            show("--public-key", path, token=token)
        assert "not accepted here" in show("--public-key", path, token=swapped, code=1)[1]
    for alg in ("RS256", "ES512"):
        path = file("one.json", json.dumps(jwk(keys[alg])))
        show("--public-key", path, token=jwt.encode(claims(), keys[alg], algorithm=alg))


def forge(header, payload, key=b""):
    """Signed as the key says, whatever the header says."""
    def part(value):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    text = part(header) + b"." + part(payload)
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(text, key)
    return (text + b"." + part(signature)).decode()


def test_what_is_forged_is_refused_with_its_reason(keys, file):
    secret = file("secret", SECRET)
    public = file("public", public_pem(keys["ES256"]))
    good = claims()
    own = SECRET.encode()
    expired = {**good, "exp": int(time.time()) - 60}
    rows = [
        (jwt.encode(good, None, algorithm="none"), "not accepted"),
        (forge({"alg": "nOnE"}, good, own), "not accepted"),
        (forge({"alg": "HS256"}, good, public.read_bytes()), "signature does not hold"),
        (forge({"alg": "ES256"}, good, own), "signature does not hold"),
        (forge({"alg": "RS256"}, good, own), "not accepted"),
        (forge({"alg": "HS256", "crit": ["exp"]}, good, own), "no token"),
        (forge({"alg": "HS256", "jwk": jwk(keys["ES256"])}, good, own), "no token"),
        (forge(b'{"alg":"none","alg":"HS256"}', good, own), "no token"),
        (forge({"alg": "HS256"}, b'{"sub":"a","sub":"b"}', own), "no token"),
        (forge({"alg": "HS256"}, {"hermes": {"subscirbe": []}}, own), "expected form"),
        (forge({"alg": "HS256"}, expired, own), "expired"),
        (forge({"alg": "HS256"}, {**good, "nbf": int(time.time()) + 60}, own), "not hold yet"),
        (jwt.encode(good, SECRET, algorithm="HS256", headers={"kid": "x" * 7000}), "no token"),
        (jwt.encode(expired, keys["ES256"], algorithm="ES256"), "expired"),
        (jwt.encode(good, keys["ES384"], algorithm="ES384"), "not accepted"),
    ]
    for token, why in rows:
        out, err = run("token", "show", "--secret-file", secret, "--public-key", public, "-q", token, code=1)
        assert why in err.splitlines()[-1], (token, err)
    # With public keys alone, none of them is a secret.
    forged = forge({"alg": "HS256"}, good, public.read_bytes())
    assert "not accepted" in show("--public-key", public, token=forged, code=1)[1]


def test_audience_issuer_and_deny_list_are_asked_for(file):
    secret = ["--secret-file", file("secret", SECRET)]
    deny = file("deny.json", '{"jti": ["t1"], "sub": ["mallory"]}')
    token = jwt.encode(claims(jti="t1"), SECRET, algorithm="HS256")
    assert "another audience" in show(*secret, "--aud", "chat", token=token, code=1)[1]
    assert "another issuer" in show(*secret, "--iss", "me", token=token, code=1)[1]
    assert "revoked" in show(*secret, "--deny-file", deny, token=token, code=1)[1]
    token = jwt.encode(claims(sub="mallory"), SECRET, algorithm="HS256")
    assert "revoked" in show(*secret, "--deny-file", deny, token=token, code=1)[1]


def test_leeway_is_for_clocks_that_differ(file):
    secret = ["--secret-file", file("secret", SECRET)]
    token = jwt.encode(claims(exp=int(time.time()) - 100), SECRET, algorithm="HS256")
    show(*secret, "--leeway", "3600", token=token)
    assert "expired" in show(*secret, "--leeway", "0", token=token, code=1)[1]


def test_what_was_not_verified_is_said_to_be(file):
    token = jwt.encode(claims(), "somebody else's", algorithm="HS256")
    shown, err = show(token=token)
    assert shown["claims"]["sub"] == "alice"
    assert "NOTHING WAS VERIFIED" in err and "holds" not in err
    assert show("--quiet", token=token)[1] == ""
    assert "NOTHING" in run("token", "show", token)[1]


def test_what_is_no_token_is_not_shown():
    for token in ("", "x", "a.b.c", "e30", "x" * 9000):
        assert "no token" in fault("token", "show", "-", stdin=token.encode(), code=1)


def test_a_secret_is_never_on_the_screen(file):
    short = file("short", "short secret")
    out, err = run("token", "make", "--secret-file", short, "--sub", "a")
    assert "32 bytes" in err and "short secret" not in out + err
    assert run("token", "make", "--secret-file", short, "--sub", "a", "-q")[1] == ""


@pytest.mark.parametrize("argv, names", [
    ([], "make"),
    (["other"], "'token other'"),
    (["make"], "--secret-file"),
    (["make", "--secret-file", "x", "--key", "y"], "one of"),
    (["make", "--secret-file", "x"], "--sub"),
    (["make", "--secret-file", "x", "--sub", "u" * 257], "256"),
    (["make", "--secret-file", "x", "--sub", "u", "word"], "'word'"),
    (["make", "--alg", "none"], "'none'"),
    (["make", "--exp", "soon"], "'soon'"),
    (["make", "--exp", "10ms"], "'10ms'"),
    (["make", "--exp", "-5"], "'-5'"),
    (["make", "-x"], "-x"),
    (["show"], "which token"),
    (["show", "a", "b"], "one token"),
    (["show", "--leeway", "x", "t"], "'x'"),
    (["show", "--nonsense", "t"], "'--nonsense'"),
])
def test_calls_that_cannot_work_are_told_so(argv, names):
    if argv:
        assert names in fault("token", *argv)
    else:
        assert names in run("token")[0]


def test_files_that_cannot_be_used_are_named(keys, file):
    private = file("private", private_pem(keys["ES256"]))
    public = file("public", public_pem(keys["ES256"]))
    empty = file("empty", "")
    token = jwt.encode(claims(), keys["ES256"], algorithm="ES256")
    for argv, what in [
        (["make", "--secret-file", empty, "--sub", "a"], "is empty"),
        (["make", "--secret-file", public, "--sub", "a"], "holds PEM"),
        (["make", "--secret-file", "/nowhere", "--sub", "a"], "/nowhere"),
        (["make", "--key", public, "--sub", "a"], "no private key"),
        (["make", "--key", private, "--alg", "HS256", "--sub", "a"], "none for this key"),
        (["make", "--key", private, "--sub", "a", *["--publish", "p" * 1000] * 7], "8192"),
        (["show", "--public-key", private, token], "private key"),
        (["show", "--public-key", empty, token], "no public key"),
        (["show", "--aud", "chat", token], "no key"),
    ]:
        assert what in fault("token", *argv, code=1), argv


@pytest.mark.parametrize("name", ["token", "token make", "token show"])
def test_each_has_a_help(name):
    out, err = run(*name.split(), "--help")
    assert err == "" and out.startswith("usage: hermes token")
    assert all(len(line) <= 80 for line in out.splitlines())
