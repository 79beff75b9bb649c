#!/usr/bin/python3
"""The passive party of a private set intersection that shares no code with FedLearn: ristretto255 (RFC 9496) on Python's integers. It follows
docs/protocol.md and needs protos/ alone. Not constant-time: it shows what crosses the wire, and protects nobody.

Debian: python3-grpcio python3-numpy protobuf-compiler protobuf-compiler-grpc. Prints, as JSON, what it found: its common rows in the common order, or their number."""
import argparse
import hashlib
import json
import random
import secrets
import struct
import sys
import tempfile
import unicodedata

import grpc

from passive_party import Exchange, stubs

SUITE, CHUNK = b"FedLearn-PSI-v1", 4096
OUTPUTS = ("both", "active-only", "passive-only", "size-only")
WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"

# ristretto255, RFC 9496 section 4; points are extended coordinates (X, Y, Z, T).
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
IDENTITY = (0, 1, 1, 0)


def integer(data):
    return int.from_bytes(data, "little")


def sqrt_ratio(u, v):
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    if check in (-u % P, -u * SQRT_M1 % P):
        r = r * SQRT_M1 % P
    return check in (u % P, -u % P), min(r, P - r, key=lambda root: root % 2)


INVSQRT_A_MINUS_D = sqrt_ratio(1, -1 - D)[1]
SQRT_AD_MINUS_ONE = P - sqrt_ratio(-D - 1, 1)[1]  # the RFC takes the odd root here


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * D * p[3] * q[3] % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(scalar, point):
    product = IDENTITY
    for bit in bin(scalar % L)[2:]:
        product = add(product, product)
        if bit == "1":
            product = add(product, point)
    return product


def decode(data):
    s = integer(data)
    if len(data) != 32 or s >= P or s % 2:
        return None
    u1, u2 = (1 - s * s) % P, (1 + s * s) % P
    v = (-D * u1 * u1 - u2 * u2) % P
    square, root = sqrt_ratio(1, v * u2 * u2 % P)
    x, y = 2 * s * root * u2 % P, u1 * root * root * u2 * v % P
    x = P - x if x % 2 else x
    return None if not square or x * y % P % 2 or y == 0 else (x, y, 1, x * y % P)


def encode(point):
    x, y, z, t = point
    u1, u2 = (z + y) * (z - y) % P, x * y % P
    root = sqrt_ratio(1, u1 * u2 * u2 % P)[1]
    den1, den2 = root * u1 % P, root * u2 % P
    z_inverse = den1 * den2 * t % P
    if t * z_inverse % P % 2:
        x, y, den2 = y * SQRT_M1 % P, x * SQRT_M1 % P, den1 * INVSQRT_A_MINUS_D % P
    if x * z_inverse % P % 2:
        y = -y % P
    s = den2 * (z - y) % P
    return (P - s if s % 2 else s).to_bytes(32, "little")


def map_to_group(uniform):
    def half(data):
        t = integer(data) % 2**255 % P
        r = SQRT_M1 * t * t % P
        u, v = (r + 1) * (1 - D * D) % P, (-1 - r * D) * (r + D) % P
        square, s = sqrt_ratio(u, v)
        c = -1
        if not square:
            s = s * t % P
            s, c = (s if s % 2 else -s % P), r
        n = (c * (r - 1) * (D - 1) ** 2 - v) % P
        w0, w1, w2, w3 = 2 * s * v, n * SQRT_AD_MINUS_ONE, 1 - s * s, 1 + s * s
        return w0 * w3 % P, w2 * w1 % P, w1 * w3 % P, w0 * w2 % P
    return add(half(uniform[:32]), half(uniform[32:]))


GENERATOR = decode(bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"))


def expand(message, dst, length):
    """expand_message_xmd with SHA-512, RFC 9380 section 5.3.1."""
    prime = dst + bytes([len(dst)])
    first = hashlib.sha512(bytes(128) + message + struct.pack(">H", length) + b"\0" + prime).digest()
    blocks = [hashlib.sha512(first + b"\1" + prime).digest()]
    while len(blocks) * 64 < length:
        mixed = bytes(a ^ b for a, b in zip(first, blocks[-1]))
        blocks.append(hashlib.sha512(mixed + bytes([len(blocks) + 1]) + prime).digest())
    return b"".join(blocks)[:length]


def short(data):
    return struct.pack(">H", len(data)) + data


class Proofs:
    """Proofs that one scalar made a chunk of products: RFC 9497 section 2.2 with the hashes that docs/protocol.md gives it."""

    def __init__(self, sid):
        self.context = SUITE + b"-ristretto255-SHA512-" + sid

    def to_scalar(self, data):
        return integer(expand(data, b"HashToScalar-" + self.context, 64)) % L

    def composites(self, commitment, points, products):
        pairs = hashlib.sha512(b"".join(points) + b"".join(products)).digest()
        seed = hashlib.sha512(short(commitment) + short(pairs) + short(b"Seed-" + self.context)).digest()
        m, z = IDENTITY, IDENTITY
        for place, (point, product) in enumerate(zip(points, products)):
            d = self.to_scalar(short(seed) + struct.pack(">H", place) + short(point) + short(product) + b"Composite")
            m, z = add(m, multiply(d, decode(point))), add(z, multiply(d, decode(product)))
        return m, z

    def challenge(self, commitment, *points):
        return self.to_scalar(short(commitment) + b"".join(short(encode(point)) for point in points) + b"Challenge")

    def prove(self, scalar, commitment, points, products):
        m, z = self.composites(commitment, points, products)
        r = secrets.randbelow(L - 1) + 1
        c = self.challenge(commitment, m, z, multiply(r, GENERATOR), multiply(r, m))
        return c.to_bytes(32, "little") + ((r - c * scalar) % L).to_bytes(32, "little")

    def holds(self, proof, commitment, points, products):
        m, z = self.composites(commitment, points, products)
        c, s = integer(proof[:32]), integer(proof[32:])
        t2 = add(multiply(s, GENERATOR), multiply(c, decode(commitment)))
        return c == self.challenge(commitment, m, z, t2, add(multiply(s, m), multiply(c, z)))


def text(data):
    return struct.pack("<I", len(data)) + data


def normalised(columns):
    return [unicodedata.normalize("NFC", column).strip(WHITE).encode() for column in columns]


class Session:
    """One alignment with the active party."""

    def __init__(self, args, pb, exchange, reply, ids):
        self.pb, self.exchange, self.ids, self.args = pb, exchange, ids, args
        self.output, nonce = OUTPUTS.index(args.output), secrets.token_bytes(32)
        self.say(pb.HELLO, struct.pack("<BBBB32sQ32sII", 1, 1, self.output, args.proof, nonce, len(ids), bytes(32), 0, 0))
        version, suite, output, flags, peer_nonce, self.peer_count, _, _, _ = struct.unpack("<BBBB32sQ32sII", self.hear(pb.HELLO))
        assert (version, suite, output, flags) == (1, 1, self.output, args.proof), "the active party has other settings"
        self.sid = hashlib.sha256(SUITE + b" session" + reply.job_digest + text(reply.parties[0].name.encode()) + text(args.party.encode())
                                  + peer_nonce + nonce).digest()
        self.scalar = secrets.randbelow(L - 1) + 1
        self.commitment = encode(multiply(self.scalar, GENERATOR))
        self.say(pb.COMMITMENT, self.commitment)
        self.peer_commitment = self.hear(pb.COMMITMENT)
        self.proofs = Proofs(self.sid)
        self.width = min(32, -(-(40 + sum((max(1, n) - 1).bit_length() for n in (len(ids), self.peer_count))) // 8))

    def say(self, step, data):
        self.exchange.send(0, alignment=self.pb.Alignment(step=step, data=data))

    def hear(self, step):
        message = self.exchange.receive(0, "alignment")
        assert message.step == step, "the active party is out of step"
        return message.data

    def run(self):
        """Sends blinded ids, answers those of the peer; the rows that are common, or their number, or None where this side is told nothing."""
        order = list(range(len(self.ids)))
        random.SystemRandom().shuffle(order)
        dst = SUITE + b"-ristretto255_XMD:SHA-512_R255MAP_RO_" + self.sid
        sent = []
        for row in order:
            columns = normalised(self.ids[row])
            message = b"\1" + bytes([len(columns)]) + b"".join(map(text, columns))
            sent.append(encode(multiply(self.scalar, map_to_group(expand(message, dst, 64)))))
        for start in range(0, len(sent), CHUNK):
            self.exchange.send(0, blinded_ids=b"".join(sent[start:start + CHUNK]))

        received = []
        while len(received) < self.peer_count:
            data = self.exchange.receive(0, "blinded_ids")
            assert len(data) == 32 * min(CHUNK, self.peer_count - len(received)), "a chunk of another size"
            received += [data[i:i + 32] for i in range(0, len(data), 32)]
        points = [decode(data) for data in received]
        assert None not in points and bytes(32) not in received, "no point"
        assert len(set(received) | set(sent)) == len(received) + len(sent), "a point came twice, or came back"

        twice = [encode(multiply(self.scalar, point)) for point in points]
        made = [self.tag(point) for point in twice]
        if self.output != OUTPUTS.index("passive-only"):
            self.answer(received, twice, made)
        if self.output == OUTPUTS.index("active-only"):
            return None
        told, known = self.listen(sent), set(made)
        found = [place for place, tag in enumerate(told) if tag in known]
        if self.output != OUTPUTS.index("passive-only"):
            common = hashlib.sha256(SUITE + b" common" + self.sid + b"".join(sorted(told[place] for place in found))).digest()
            self.say(self.pb.CONFIRMATION, common)
            assert self.hear(self.pb.CONFIRMATION) == common, "the parties found different intersections"
        if self.output == OUTPUTS.index("size-only"):
            return len(found)
        rows = [order[place] for place in found]
        return sorted(rows, key=lambda row: hashlib.sha256(struct.pack("<q", self.args.seed) + b"\x1f".join(normalised(self.ids[row]))).digest())

    def tag(self, point):
        return hashlib.sha256(self.sid + point).digest()[:self.width]

    def answer(self, received, twice, made):
        if self.output == OUTPUTS.index("size-only"):
            made = list(made)
            random.SystemRandom().shuffle(made)
        for start in range(0, len(made), CHUNK):
            chunk = (twice if self.args.proof else made)[start:start + CHUNK]
            self.exchange.send(0, blinded_tags=self.pb.Sealed(data=b"".join(chunk), length=len(chunk)))
            if self.args.proof:
                self.say(self.pb.PROOF, self.proofs.prove(self.scalar, self.commitment, received[start:start + CHUNK], chunk))

    def listen(self, sent):
        """The tags of the points that this side sent, in the order of sending."""
        told = []
        while len(told) < len(sent):
            message, width = self.exchange.receive(0, "blinded_tags"), 32 if self.args.proof else self.width
            assert message.length == min(CHUNK, len(sent) - len(told)) and len(message.data) == width * message.length, "a chunk of another size"
            chunk = [message.data[i:i + width] for i in range(0, len(message.data), width)]
            if self.args.proof:
                proof = self.hear(self.pb.PROOF)
                assert None not in map(decode, chunk) and self.proofs.holds(proof, self.peer_commitment, sent[len(told):len(told) + len(chunk)], chunk), "no proof"
                chunk = [self.tag(product) for product in chunk]
            told += chunk
        return told


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("address", "job", "party", "terms", "ids"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", choices=OUTPUTS, default="both")
    parser.add_argument("--proof", action="store_true")
    args = parser.parse_args()
    with open(args.ids, encoding="utf-8") as file:
        ids = json.load(file)  # a list of columns for each row
    with tempfile.TemporaryDirectory() as folder:
        pb, services = stubs(folder)
        with grpc.insecure_channel(args.address) as channel:
            stub = services.FederationStub(channel)
            reply = stub.Join(pb.JoinRequest(protocol_version=1, job_name=args.job, party=args.party, role=pb.ROLE_PASSIVE, terms_digest=bytes.fromhex(args.terms),
                                             schema_fingerprint=hashlib.sha256(b"").digest()), timeout=60, wait_for_ready=True)
            exchange = Exchange(pb, stub, reply, args.party)
            found = Session(args, pb, exchange, reply, ids).run()
            exchange.complete()
    print(json.dumps({"party": args.party, "found": found}))


if __name__ == "__main__":
    try:
        main()
    except grpc.RpcError as error:
        sys.exit(f"{error.code()}: {error.details()}")
