import base64
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives import serialization
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from prodkit.errors import UnauthenticatedError
from prodkit.security.authorization import Roles
from prodkit.security.tokens import KeySet, RemoteKeys, TokenSigner, TokenVerifier
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio

USERS, AUDIENCE = "https://users.shop.example", "shop"
RSA = RSAKey.generate_key(2048)
ROLES = Roles({"staff": {"products:write"}})


@pytest.fixture(scope="module")
def keys():
    return KeySet.generate()


@pytest.fixture(scope="module")
def service_keys():
    return KeySet.generate()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def signer(keys, clock):
    return TokenSigner(keys, issuer=USERS, audience=AUDIENCE, clock=clock)


@pytest.fixture
def verifier(keys, service_keys, clock):
    return TokenVerifier(
        {USERS: keys, "service:orders": service_keys}, audience=AUDIENCE, roles=ROLES, clock=clock
    )


async def reason(verifier, token):
    with pytest.raises(UnauthenticatedError) as caught:
        await verifier.verify(token)
    assert verifier.known(token) is None
    return caught.value.reason


async def test_what_is_signed_comes_back_as_a_principal(signer, verifier):
    token = signer.sign(
        "alice", session="s1", roles=["staff", "new"], role_version=3, claims={"tenant": "t"}
    )
    principal = await verifier.verify(token)
    assert (principal.subject, principal.session) == ("alice", "s1")
    assert principal.roles == {"staff", "new"}
    assert principal.permissions == {"products:write"}
    assert (principal.claims["tenant"], principal.claims["rv"]) == ("t", 3)
    assert principal.service is None


async def test_a_verified_token_is_remembered_until_it_expires(signer, verifier, clock):
    token = signer.sign("alice", lifetime=60)
    assert verifier.known(token) is None
    principal = await verifier.verify(token)
    await clock.advance(69)
    assert verifier.known(token) is principal
    await clock.advance(1)
    assert verifier.known(token) is None
    assert await reason(verifier, token) == "TOKEN_EXPIRED"


async def test_what_is_remembered_is_bounded(signer, keys, clock):
    verifier = TokenVerifier({USERS: keys}, audience=AUDIENCE, cache_size=2, clock=clock)
    tokens = [signer.sign(name) for name in "abc"]
    for token in tokens:
        await verifier.verify(token)
    assert [verifier.known(token) is not None for token in tokens] == [False, True, True]


async def test_tokens_survive_one_rotation_and_not_two(clock):
    keys = KeySet.generate()
    signer = TokenSigner(keys, issuer=USERS, audience=AUDIENCE, clock=clock)
    verifier = TokenVerifier({USERS: keys}, audience=AUDIENCE, clock=clock)
    old = signer.sign("alice")
    await verifier.verify(old)
    keys.rotate()
    assert verifier.known(old) is not None
    assert (await verifier.verify(signer.sign("bob"))).subject == "bob"
    keys.rotate()
    assert verifier.known(old) is None
    assert await reason(verifier, old) == "TOKEN_INVALID"


async def test_a_rotation_elsewhere_needs_no_fetch(clock):
    keys, fetches = KeySet.generate(), []

    async def fetch():
        fetches.append(1)
        return keys.jwks()

    verifier = TokenVerifier(
        {USERS: RemoteKeys(fetch, clock=clock)}, audience=AUDIENCE, clock=clock
    )
    signer = TokenSigner(keys, issuer=USERS, audience=AUDIENCE, clock=clock)
    await verifier.verify(signer.sign("alice"))
    keys.rotate()  # the successor was published before it signs
    await verifier.verify(signer.sign("alice"))
    assert len(fetches) == 1


async def test_a_service_signs_for_itself_alone(service_keys, verifier, clock):
    signer = TokenSigner(service_keys, issuer="service:orders", audience=AUDIENCE, clock=clock)
    principal = await verifier.verify(signer.sign("service:orders", roles=["staff"]))
    assert principal.service == "orders"
    assert principal.roles == principal.permissions == frozenset()
    with pytest.raises(ValueError, match="does not sign for"):
        signer.sign("service:payments")
    with pytest.raises(ValueError, match="does not sign for"):
        signer.sign("alice")


def test_applications_cannot_replace_standard_claims(signer):
    token = signer.sign("alice", claims={"sub": "bob", "exp": 1})
    assert claims_of(token)["sub"] == "alice"
    assert claims_of(token)["exp"] > 1


# The battery: everything that must not pass, built by hand. Scenario 41.


def b64(data):
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims_of(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def claims(clock, **changes):
    now = int(clock.wall())
    body = {"iss": USERS, "sub": "alice", "aud": AUDIENCE, "iat": now, "exp": now + 300}
    return {k: v for k, v in (body | changes).items() if v is not ...}


class Forge:
    """Makes tokens that look right but for one thing."""

    def __init__(self, keys, service_keys, clock):
        self.key = keys.signing_key
        self.service_key = service_keys.signing_key
        self.clock = clock

    def signed(self, header=None, key=None, **changes):
        """Sign with the true key, whatever the header and the claims say."""
        key = key or self.key
        full = {"alg": "Ed25519", "typ": "at+jwt", "kid": key.kid} | (header or {})
        full = {k: v for k, v in full.items() if v is not ...}
        return self.raw(b64(full), b64(claims(self.clock, **changes)), key)

    def raw(self, header, payload, key=None):
        private = (key or self.key).get_op_key("sign")
        return f"{header}.{payload}.{b64(private.sign(f'{header}.{payload}'.encode()))}"

    def unsigned(self, alg, signature=""):
        header = {"alg": alg, "typ": "at+jwt", "kid": self.key.kid}
        return f"{b64(header)}.{b64(claims(self.clock))}.{signature}"

    def hmac(self, secret, alg="HS256"):
        head = (
            f"{b64({'alg': alg, 'typ': 'at+jwt', 'kid': self.key.kid})}.{b64(claims(self.clock))}"
        )
        digest = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}[alg]
        return f"{head}.{b64(hmac.new(secret, head.encode(), digest).digest())}"

    def public(self, encoding, form):
        return self.key.get_op_key("verify").public_bytes(encoding, form)

    def other_algorithm(self, key, alg):
        header = {"alg": alg, "typ": "at+jwt", "kid": self.key.kid}
        body = json.dumps(claims(self.clock)).encode()
        return jws.serialize_compact(header, body, key, algorithms=[alg])

    def battery(self):
        good, stranger = self.signed(), OKPKey.generate_key("Ed25519")
        head, body, signature = good.split(".")
        pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        raw = serialization.PublicFormat.Raw
        jwk = self.key.as_dict(private=False)
        mine = {"kid": self.key.kid}
        now = int(self.clock.wall())
        return {
            "none": self.unsigned("none"),
            "None": self.unsigned("None"),
            "NONE": self.unsigned("NONE"),
            "nOnE with a signature": self.unsigned("nOnE", signature),
            "no signature": f"{head}.{body}.",
            "empty alg": self.signed({"alg": ""}),
            "no alg": self.signed({"alg": ...}),
            "alg in lower case": self.signed({"alg": "ed25519"}),
            "the retired name EdDSA": self.signed({"alg": "EdDSA"}),
            "HS256 by PEM": self.hmac(self.public(pem, spki)),
            "HS256 by DER": self.hmac(self.public(der, spki)),
            "HS256 by raw key": self.hmac(self.public(serialization.Encoding.Raw, raw)),
            "HS256 by JWK": self.hmac(json.dumps(jwk).encode()),
            "HS512 by PEM": self.hmac(self.public(pem, spki), "HS512"),
            "HS256 by empty key": self.hmac(b""),
            "RS256": self.other_algorithm(RSA, "RS256"),
            "ES256": self.other_algorithm(ECKey.generate_key("P-256"), "ES256"),
            "HS256 by secret": self.other_algorithm(OctKey.generate_key(256), "HS256"),
            "kid traversal": self.signed({"kid": "../../../dev/null"}),
            "kid SQL": self.signed({"kid": "x' UNION SELECT 'key' --"}),
            "kid URL": self.signed({"kid": "https://evil.example/key"}),
            "kid empty": self.signed({"kid": ""}),
            "kid absent": self.signed({"kid": ...}),
            "kid number": self.signed({"kid": 7}),
            "jku": self.signed({"jku": "https://evil.example/jwks.json"}),
            "x5u": self.signed({"x5u": "https://evil.example/cert.pem"}),
            "x5c": self.signed({"x5c": ["AAAA"]}),
            "jwk of a stranger": self.signed(
                {"jwk": stranger.as_dict(private=False), **mine}, key=stranger
            ),
            "crit": self.signed({"crit": ["exp"]}),
            "b64 false": self.signed({"b64": False, "crit": ["b64"]}),
            "zip": self.signed({"zip": "DEF"}),
            "typ JWT": self.signed({"typ": "JWT"}),
            "typ refresh": self.signed({"typ": "refresh+jwt"}),
            "typ absent": self.signed({"typ": ...}),
            "no exp": self.signed(exp=...),
            "no iat": self.signed(iat=...),
            "no iss": self.signed(iss=...),
            "no aud": self.signed(aud=...),
            "no sub": self.signed(sub=...),
            "empty sub": self.signed(sub=""),
            "expired": self.signed(exp=now - 11),
            "exp as text": self.signed(exp=str(now + 300)),
            "exp NaN": self.raw(
                head, b64(json.dumps(claims(self.clock, exp=float("nan"))).encode())
            ),
            "not yet": self.signed(nbf=now + 60),
            "from the future": self.signed(iat=now + 60),
            "another audience": self.signed(aud="bank"),
            "no audience at all": self.signed(aud=[]),
            "another issuer": self.signed(iss="https://evil.example"),
            "issuer of another key": self.signed(iss="service:orders", sub="service:orders"),
            "key of another issuer": self.signed(key=self.service_key),
            "service signs for a person": self.signed(
                key=self.service_key, iss="service:orders", sub="alice"
            ),
            "service signs for another": self.signed(
                key=self.service_key, iss="service:orders", sub="service:payments"
            ),
            "users signs for a service": self.signed(sub="service:orders"),
            "stranger under our kid": self.signed(mine, key=stranger),
            "claims exchanged": f"{head}.{b64(claims(self.clock, sub='admin'))}.{signature}",
            "signature cut": good[:-1],
            "signature zero": f"{head}.{body}.{b64(bytes(64))}",
            "signature not canonical": good[:-1]
            + {"A": "B", "Q": "R", "g": "h", "w": "x"}[good[-1]],
            "padding": good + "==",
            "line break": good + "\n",
            "space inside": f"{head}. {body}.{signature}",
            "four parts": good + ".AAAA",
            "JWE form": f"{head}..{body}.{signature}.AAAA",
            "JSON form": json.dumps({"protected": head, "payload": body, "signature": signature}),
            "claims are a list": self.raw(head, b64([1])),
            "claims are no JSON": self.raw(head, b64(b"\xff\xfe")),
            "header nested deeply": self.raw(b64(b"[" * 4000), body),
            "claims nested deeply": self.raw(head, b64(b'{"a":' * 1100)),
            "100 KB": self.signed(note="x" * 100_000),
            "not ASCII": "é" * 50,
            "empty": "",
            "dots": "..",
        }


BATTERY = list(Forge(KeySet.generate(), KeySet.generate(), ManualClock()).battery())


@pytest.mark.parametrize("name", BATTERY)
async def test_battery(name, keys, service_keys, clock):
    fetches = []

    async def never():
        fetches.append(1)
        return {"keys": []}

    remote = RemoteKeys(never, clock=clock)
    verifier = TokenVerifier(
        {USERS: keys, "service:orders": service_keys, "https://partner.example": remote},
        audience=AUDIENCE,
        clock=clock,
    )
    forge = Forge(keys, service_keys, clock)
    expected = "TOKEN_EXPIRED" if name == "expired" else "TOKEN_INVALID"
    assert await reason(verifier, forge.battery()[name]) == expected
    assert fetches == []


async def test_the_forge_can_make_a_token_that_passes(keys, service_keys, verifier, clock):
    forge = Forge(keys, service_keys, clock)
    assert (await verifier.verify(forge.signed())).subject == "alice"
    assert (await verifier.verify(forge.signed(aud=["bank", AUDIENCE]))).subject == "alice"
    orders = forge.signed(key=forge.service_key, iss="service:orders", sub="service:orders")
    assert (await verifier.verify(orders)).service == "orders"
    full = {"typ": "application/at+jwt"}
    assert (await verifier.verify(forge.signed(full))).subject == "alice"


async def test_messages_tell_nothing_apart(keys, service_keys, verifier, clock):
    told = set()
    for name, token in Forge(keys, service_keys, clock).battery().items():
        if name != "expired":
            with pytest.raises(UnauthenticatedError) as caught:
                await verifier.verify(token)
            told.add(caught.value.message)
    assert told == {"the token does not hold"}
