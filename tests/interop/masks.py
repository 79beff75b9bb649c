"""Masks of docs/protocol.md: secure aggregation of devices, and masked sums of views. Debian: python3-cryptography."""
import hashlib
import hmac
import os
import struct

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

PRIME = 2**521 - 1


def number(*values):
    return struct.pack(f"<{len(values)}i", *values)


def text(value):
    return number(len(value.encode())) + value.encode()


def expand(key, info):
    return hmac.digest(key, info + b"\x01", "sha256")


def hkdf(secret, salt, info):
    """HKDF-SHA256, 32 bytes."""
    return expand(hmac.digest(salt or bytes(32), secret, "sha256"), info)


def words(seed, length):
    """The words of a mask: AES-256 of blocks that hold their number, 8 bytes little-endian, and 8 of zero."""
    blocks = np.zeros((-(-length // 2), 2), dtype="<u8")
    blocks[:, 0] = np.arange(len(blocks))
    cipher = Cipher(algorithms.AES(seed), modes.ECB()).encryptor()
    return np.frombuffer(cipher.update(blocks.tobytes()), dtype="<u8")[:length]


def integers(values, step):
    return np.rint(np.asarray(values) / step).astype(np.int64).astype("<u8")


class Pair:
    """A key pair of X25519."""

    def __init__(self):
        self.key = X25519PrivateKey.generate()
        self.public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.secret = self.key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())

    def agree(self, public):
        return self.key.exchange(X25519PublicKey.from_public_bytes(public))


class MaskedSum:
    """A view's side of a masked sum."""
    DOMAIN = text("FedLearn masked sum 1")

    def __init__(self, view, job_digest):
        self.view, self.job, self.pair, self.step = view, job_digest, Pair(), 0

    def agree(self, roster):
        count, at, keys = struct.unpack_from("<i", roster)[0], 4, {}
        for _ in range(count):
            end = at + 4 + struct.unpack_from("<i", roster, at)[0]
            keys[roster[at + 4:end].decode()] = roster[end:end + 32]
            at = end + 32
        assert at == len(roster) and keys.pop(self.view) == self.pair.public
        self.seeds = {other: hkdf(self.pair.agree(key), b"", self.DOMAIN + self.job + b"".join(map(text, sorted((self.view, other), key=str.encode)))) for other, key in keys.items()}

    def mask(self, values):
        masked = integers(values, 2.0**-20)
        for other, seed in self.seeds.items():
            mask = words(expand(seed, self.DOMAIN + self.job + struct.pack("<q", self.step)), len(masked))
            masked = masked + mask if self.view.encode() < other.encode() else masked - mask
        self.step += 1
        return masked.tobytes()


class Attempt:
    """A client's side of one attempt of secure aggregation."""

    def __init__(self, job_digest, attempt, number_of_round, version, model, tensors, step, clients, threshold, colluders, client, enrolment=None, enrolled=None):
        self.client, self.threshold, self.tensors, self.step, self.enrolment, self.enrolled = client, threshold, tensors, step, enrolment, enrolled or {}
        self.bound = job_digest + number(number_of_round, attempt) + struct.pack("<q", version) + model
        terms = number(clients, threshold, colluders, 1 if enrolment else 0) + struct.pack("<d", step) + number(len(tensors))
        terms += b"".join(text(name) + number(length) for name, length in tensors)
        terms += number(len(self.enrolled)) + b"".join(number(other) + self.enrolled[other] for other in sorted(self.enrolled))
        self.digest = self.hash("terms", terms)
        self.sharing, self.masking, self.self_mask = Pair(), Pair(), os.urandom(32)

    def label(self, purpose, content=b""):
        return text("FedLearn secure aggregation 1") + text(purpose) + self.bound + content

    def hash(self, purpose, content):
        return hashlib.sha256(self.label(purpose, content)).digest()

    def open(self, message, size=0):
        """The entries of a message of this attempt: number of a client, and the bytes beside it."""
        assert message[:32] == self.digest, "the message is of another attempt"
        count = struct.unpack_from("<i", message, 32)[0]
        assert len(message) == 36 + count * (4 + size)
        entries = [message[at:at + 4 + size] for at in range(36, len(message), 4 + size)]
        return {struct.unpack_from("<i", entry)[0]: entry[4:] for entry in entries}

    def keys(self):
        entry = number(self.client) + self.sharing.public + self.masking.public
        return self.digest + entry + (self.enrolment.sign(self.label("keys", self.digest + entry)) if self.enrolment else b"")

    def shares(self, roster):
        self.roster = self.open(roster, 128 if self.enrolment else 64)
        assert len(self.roster) >= self.threshold and self.roster[self.client][:64] == self.sharing.public + self.masking.public
        for client, entry in self.roster.items():
            if self.enrolment:
                Ed25519PublicKey.from_public_bytes(self.enrolled[client]).verify(entry[64:], self.label("keys", self.digest + number(client) + entry[:64]))
        self.roster_digest = self.hash("roster", number(len(self.roster)) + b"".join(number(client) + entry[:64] for client, entry in self.roster.items()))
        parts = list(zip(*(split(secret, self.threshold, len(self.roster)) for secret in (self.masking.secret, self.self_mask))))
        self.own = dict(zip(self.roster, parts))[self.client]
        return self.digest + number(len(parts) - 1) + b"".join(number(client) + self.encrypt(client, b"".join(part)) for client, part in zip(self.roster, parts) if client != self.client)

    def cipher(self, sender, receiver):
        binding = self.label("share", number(sender, receiver))
        return AESGCM(hkdf(self.sharing.agree(self.roster[receiver if sender == self.client else sender][:32]), b"", binding)), bytes(12), binding

    def encrypt(self, receiver, shares):
        cipher, nonce, binding = self.cipher(self.client, receiver)
        return cipher.encrypt(nonce, shares, binding)

    def upload(self, delivery, vector):
        """The vector, integers mod 2^64, under the masks of everybody who shared."""
        self.received = {self.client: self.own}
        for sender, ciphertext in self.open(delivery, 148).items():
            cipher, nonce, binding = self.cipher(sender, self.client)
            shares = cipher.decrypt(nonce, ciphertext, binding)
            self.received[sender] = shares[:66], shares[66:]
        assert len(self.received) >= self.threshold
        masked, at = vector.copy(), 0
        for name, length in self.tensors:
            block = masked[at:at + length]
            block += words(hkdf(self.self_mask, self.roster_digest, self.label("self", text(name) + number(self.client))), length)
            for other in self.received.keys() - {self.client}:
                mask = words(hkdf(self.masking.agree(self.roster[other][32:64]), self.roster_digest, self.label("pair", text(name) + number(*sorted((self.client, other))))), length)
                block += mask if self.client < other else -mask
            at += length
        return masked.tobytes()

    def listed(self, client, survivors):
        rest = self.roster_digest + number(len(self.received), *sorted(self.received)) + number(len(survivors), *survivors)
        return self.label("consent", number(client) + self.hash("list", self.digest + rest))

    def consent(self, unmask):
        self.survivors = list(self.open(unmask))
        return self.digest + self.enrolment.sign(self.listed(self.client, self.survivors))

    def reveal(self, request):
        """One share of everybody who shared: of the self-mask of those on the list, of the mask key of the others."""
        if self.enrolment:
            consents = self.open(request, 64)
            for client, signature in consents.items():
                Ed25519PublicKey.from_public_bytes(self.enrolled[client]).verify(signature, self.listed(client, self.survivors))
            assert consents.keys() <= set(self.survivors) and len(consents) >= self.threshold
        else:
            self.survivors = list(self.open(request))
        assert len(self.survivors) >= self.threshold and self.client in self.survivors and set(self.survivors) <= self.received.keys()
        kinds = [(client, int(client in self.survivors)) for client in sorted(self.received)]
        return self.digest + number(len(kinds)) + b"".join(number(client, kind) + self.received[client][kind] for client, kind in kinds)


def split(secret, threshold, count):
    polynomial = [int.from_bytes(secret, "little"), *(int.from_bytes(os.urandom(66), "little") % PRIME for _ in range(threshold - 1))]
    return [(sum(c * x**k for k, c in enumerate(polynomial)) % PRIME).to_bytes(66, "little") for x in range(1, count + 1)]


def enrolment_key(seed):
    return Ed25519PrivateKey.from_private_bytes(seed)
