#!/usr/bin/python3
"""A view of a recommendation between companies that shares no code with FedLearn. It follows docs/protocol.md; what it shares with device.py is in towers.py
and masks.py, and the calls in passive_party.py.

Debian: as passive_party.py, with --masked python3-cryptography too. Prints the parameters of its tower as JSON."""
import argparse
import csv
import hashlib
import json
import pathlib
import struct
import sys
import tempfile
import unicodedata

import grpc
import numpy as np

import towers
from passive_party import Exchange, stubs
from private_modes import from_lattice


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("address", "job", "party", "terms", "data", "start"):
        parser.add_argument("--" + name, required=True)
    for name, default in (("seed", 0), ("epochs", 1), ("batch-size", 1024), ("step-size", 0.002), ("view", 0), ("views", 1), ("view-dropout", 0.0), ("weight", 1.0)):
        parser.add_argument("--" + name, type=type(default), default=default)
    parser.add_argument("--layers", type=lambda text: [int(item) for item in text.split(",")], required=True)
    parser.add_argument("--optimizer", choices=("adam", "sgd"), default="adam")
    for name in ("float32", "late", "masked", "noisy-gradients", "no-validation-stop", "no-checkpoints"):
        parser.add_argument("--" + name, action="store_true")
    return parser.parse_args()


class View:
    def __init__(self, path):
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.moments = "time" in rows[0]
        columns = [name for name in rows[0] if name not in ("user", "time", "sequence")]
        self.fingerprint = hashlib.sha256(repr((self.moments, columns)).encode()).digest()
        self.values = np.array([[float(row[name]) for name in columns] for row in rows] + [[0.0] * len(columns)])  # the last stands for an absent row
        self.rows = {}
        for number, row in enumerate(rows):
            moment = (int(row["time"]), int(row["sequence"])) if self.moments else (0, 0)
            self.rows.setdefault(unicodedata.normalize("NFC", row["user"]).strip(), []).append((moment, number))

    def row(self, user, moment):
        return max((entry for entry in self.rows[user] if entry[0] <= moment), default=(None, -1))[1]


def main():
    args = arguments()
    with tempfile.TemporaryDirectory() as folder:
        pb, services = stubs(folder)
        view = View(args.data)
        tower = towers.Tower(view.values.shape[1], args.layers, json.loads(pathlib.Path(args.start).read_text()))
        with grpc.insecure_channel(args.address, options=[("grpc.max_receive_message_length", -1)]) as channel:
            train(args, pb, services.FederationStub(channel), view, tower)
    print(json.dumps({"party": args.party, "parameters": list(tower.parameters)}))


def train(args, pb, stub, view, tower):
    reply = stub.Join(pb.JoinRequest(protocol_version=1, job_name=args.job, party=args.party, role=pb.ROLE_PASSIVE, terms_digest=bytes.fromhex(args.terms),
                                     schema_fingerprint=view.fingerprint), timeout=60, wait_for_ready=True)
    exchange = Exchange(pb, stub, reply, args.party)

    # Steps 1 to 4: the users of the pair, and the rows of the samples. -1 is the absent row.
    digests = sorted((hashlib.sha256(struct.pack("<q", args.seed) + user.encode()).digest(), user) for user in view.rows)
    exchange.send(0, hashed_ids=b"".join(digest for digest, _ in digests))
    users = [user for (_, user), chosen in zip(digests, exchange.receive(0, "row_selection")) if chosen]
    agree(exchange, 0, float(view.moments))
    sets = []
    for _ in range(5):
        keys = exchange.receive(0, "sample_keys")
        assert keys.moments == view.moments
        samples = [(key[0], key[1:] or (0, 0)) for key in struct.iter_unpack("<iqi" if keys.moments else "<i", keys.keys)]
        sets.append(np.array([view.row(users[user], moment) if user >= 0 else -1 for user, moment in samples], dtype=int))
        exchange.send(0, row_selection=bytes(row >= 0 for row in sets[-1]))
    training, validation = sets[:2]
    if args.masked:
        import masks
        sums = masks.MaskedSum(args.party, reply.job_digest)
        exchange.send(0, aggregation=pb.Aggregation(step=pb.KEYS, data=sums.pair.public))
        sums.agree(exchange.receive(0, "aggregation").data)
    if not args.no_checkpoints:
        agree(exchange, 0, 1.0)
        exchange.receive(0, "scalars")

    def send(number, vectors):
        if args.masked:
            exchange.send(number, masked=pb.Masked(values=sums.mask((args.weight * vectors).ravel()), step=2.0**-20))
        else:
            exchange.send(number, embeddings=pb.Vector(type=pb.FLOAT32 if args.float32 else pb.FLOAT64, data=vectors.astype("<f4" if args.float32 else "<f8").tobytes()))

    # Steps 6 to 8.
    batches = -(-len(training) // args.batch_size)
    best = None
    for epoch in range(args.epochs):
        order = towers.order(len(training), args.seed, epoch)
        for batch in range(batches):
            number, samples = epoch * batches + batch, order[batch * args.batch_size:(batch + 1) * args.batch_size]
            rows = np.array([training[i] if towers.keeps(args.seed, epoch, i, args.view_dropout, args.view, args.views) else -1 for i in samples])
            there = (rows >= 0)[:, None]
            send(number, tower.forward(view.values[rows]) * there)
            vector = exchange.receive(number, "embedding_gradients")
            gradients = from_lattice(vector) if vector.type == pb.LATTICE else np.frombuffer(vector.data, dtype="<f4" if vector.type == pb.FLOAT32 else "<f8").astype(float)
            if not args.late and (args.masked or args.noisy_gradients):
                gradients = args.weight * gradients  # the same bytes go to all views
            divisor = args.batch_size if args.noisy_gradients else len(samples)
            tower.step(tower.gradient(gradients.reshape(-1, args.layers[-1]) * there / divisor), args.optimizer, args.step_size)
        if len(validation) and not args.no_validation_stop:
            number = (epoch + 1) * batches
            send(number, vectors_of(view, tower, validation))
            word = np.frombuffer(exchange.receive(number, "scalars").data, dtype="<f8")[0]
            best = tower.parameters if word in (1, 3) else best
            if word in (0, 3):
                break
    tower.parameters = tower.parameters if best is None else best

    # Steps 9 to 11.
    for rows in sets[2:]:
        if len(rows):
            send(args.epochs * batches, vectors_of(view, tower, rows))
    if not args.no_checkpoints:
        agree(exchange, args.epochs * batches, 1.0)
    exchange.complete()


def vectors_of(view, tower, rows):
    return tower.forward(view.values[rows]) * (rows >= 0)[:, None]


def agree(exchange, number, value):
    exchange.send(number, scalars=exchange.pb.Scalars(kind=exchange.pb.AGREEMENT, data=struct.pack("<d", value)))


if __name__ == "__main__":
    try:
        main()
    except grpc.RpcError as error:
        sys.exit(f"{error.code()}: {error.details()}")
