#!/usr/bin/python3
"""A passive party of the modes he and he+dp with Paillier that shares no code with FedLearn: what "Homomorphic encryption" of docs/protocol.md adds to passive_party.py.
The arithmetic is Python's integers alone. Prints its weights as JSON."""
import hashlib
import math
import secrets
import struct

import numpy as np
import passive_party
import private_modes


def arguments(parser):
    parser.add_argument("--arbiter", required=True, help="address of the arbiter")
    parser.add_argument("--arbiter-terms", required=True, help="digest of the job's terms for the purpose arbiter")
    parser.add_argument("--dp", action="store_true", help="mode he+dp")
    parser.add_argument("--alpha", type=float, default=0.25, help="slope of the residual: a quarter for binomial, 1 for gaussian")


class PublicKey:
    """Ciphertexts are integers modulo n squared, little-endian in self.size bytes."""

    def __init__(self, key):
        magic, version, bits = struct.unpack_from("<4sHH", key)
        assert (magic, version, len(key)) == (b"FLPA", 1, 8 + bits // 8 + bits // 4), "a key of another form"
        self.n, base = (int.from_bytes(part, "little") for part in (key[8:8 + bits // 8], key[8 + bits // 8:]))
        self.square, self.size = self.n * self.n, bits // 4
        # h_s to the power of a, 4 bits of a at a time: [digit][place].
        self.powers = []
        for _ in range(bits // 8):
            row = [1]
            for _ in range(16):
                row.append(row[-1] * base % self.square)
            self.powers.append(row[:16])
            base = row[16]

    def encrypt(self, integer):
        """(1 + m n) h_s^a modulo n^2, a random of half the key's bits."""
        cipher = 1 + integer % self.n * self.n
        for row in self.powers:
            cipher = cipher * row[secrets.randbelow(16)] % self.square
        return cipher

    def pack(self, ciphers):
        return b"".join(cipher.to_bytes(self.size, "little") for cipher in ciphers)

    def unpack(self, sealed, count):
        assert (sealed.length, len(sealed.data)) == (count, count * self.size), "ciphertexts of another size"
        ciphers = [int.from_bytes(sealed.data[i:i + self.size], "little") for i in range(0, len(sealed.data), self.size)]
        assert all(cipher < self.square and math.gcd(cipher, self.n) == 1 for cipher in ciphers), "not a ciphertext"
        return ciphers


def integers(values, bits):
    """In units of 2^-bits."""
    return [round(math.ldexp(value, bits)) for value in values]


def train(args, pb, stub, identity, ids, features, columns):
    schema = hashlib.sha256(repr(columns).encode()).digest()
    exchange = passive_party.join(args, pb, stub, identity, args.terms, schema)
    arbiter = passive_party.join(args, pb, type(stub)(identity.connect(args.arbiter)), identity, args.arbiter_terms, schema)
    train_rows, test_rows, agreement = passive_party.align(args, exchange, ids)
    mean, deviation = features[train_rows].mean(axis=0), features[train_rows].std(axis=0)
    x, x_test = (private_modes.bounded(args, (features[rows] - mean) / deviation) for rows in (train_rows, test_rows))
    largest = 0 if args.dp else max(math.ceil(math.log2(np.abs(x).max())), 0)
    arbiter.send_scalars(0, pb.AGREEMENT, [len(x), args.batches, x.shape[1], 0, largest])
    key = PublicKey(arbiter.receive(0, "encryption_key"))
    arbiter.receive_scalars(0, pb.AGREEMENT)
    exchange.send_scalars(0, pb.AGREEMENT, agreement)
    exchange.receive_scalars(0, pb.AGREEMENT)

    weights = np.zeros(x.shape[1])
    batches = np.array_split(x, args.batches)
    for number in range(args.epochs * args.batches):
        batch = batches[number % args.batches]
        weights = weights * (1 - args.step_size * args.l2) - args.step_size * gradient(pb, exchange, arbiter, key, number, batch, args.alpha * (batch @ weights)) / len(batch)
        weights *= min(1, args.weight_norm / max(np.linalg.norm(weights), 1e-300))
    for rows in (x_test,) if args.dp else (x, x_test):
        if len(rows):
            exchange.send_vector(number + 1, rows @ weights)
    exchange.complete()
    arbiter.complete()
    return {"weights": weights}


def gradient(pb, exchange, arbiter, key, number, batch, shares):
    """Sum over the batch of its rows times the residual, which nobody sees."""
    own = [key.encrypt(integer) for integer in integers(shares, 64)]
    exchange.send(number, encrypted_shares=pb.Sealed(data=key.pack(own), length=len(own)))
    residual = [a * b % key.square for a, b in zip(own, key.unpack(exchange.receive(number, "encrypted_shares"), len(own)))]
    masks = [secrets.randbelow(key.n) for _ in batch.T]
    products = [key.encrypt(mask) for mask in masks]
    for j, column in enumerate(batch.T):
        for cipher, integer in zip(residual, integers(column, 52)):
            products[j] = products[j] * pow(cipher, integer, key.square) % key.square
    arbiter.send(number, masked_products=pb.Sealed(data=key.pack(products), length=len(products)))
    answers, size = arbiter.receive(number, "masked_answers"), key.size // 2
    assert (answers.length, len(answers.data)) == (len(masks), len(masks) * size), "answers of another size"
    opened = [(int.from_bytes(answers.data[j * size:(j + 1) * size], "little") - mask) % key.n for j, mask in enumerate(masks)]
    return np.array([(value - key.n if value > key.n // 2 else value) / 2**116 for value in opened])


if __name__ == "__main__":
    passive_party.main(train, __import__("homomorphic"))
