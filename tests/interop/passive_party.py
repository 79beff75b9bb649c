#!/usr/bin/python3
"""A passive party that shares no code with FedLearn, by docs/protocol.md and protos/ alone; private modes, other optimisers and mutual TLS are in modules beside it.
Prints its weights, and their standard errors, as JSON. Debian: python3-grpcio python3-numpy protobuf-compiler protobuf-compiler-grpc."""
import argparse
import csv
import hashlib
import json
import pathlib
import queue
import shutil
import struct
import subprocess
import sys
import tempfile
import unicodedata
from urllib.parse import quote

import grpc
import numpy as np
import full_batch
import mutual_tls
import private_modes


def stubs(folder):
    """Generates message classes and stubs from the protos, and imports them."""
    protos = pathlib.Path(__file__).resolve().parents[2] / "protos"
    subprocess.run(["protoc", "-I", protos, "--python_out", folder, "--grpc_out", folder,
                    "--plugin=protoc-gen-grpc=" + shutil.which("grpc_python_plugin"), "fedlearn/v1/federation.proto"], check=True)
    sys.path.insert(0, folder)
    from fedlearn.v1 import federation_pb2, federation_pb2_grpc
    return federation_pb2, federation_pb2_grpc


def table(path):
    """Ids, and the numeric columns as a matrix."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = [name for name in rows[0] if name != "id"]
    ids = [unicodedata.normalize("NFC", row["id"]).strip() for row in rows]
    return ids, np.array([[float(row[name]) for name in columns] for row in rows]), columns


class Exchange:
    """The two directions of the Exchange call, one message at a time."""

    def __init__(self, pb, stub, reply, party, bound=None):
        self.pb, self.reply, self.outgoing = pb, reply, queue.Queue()
        metadata = (("fedlearn-session", reply.session_id), ("fedlearn-party", quote(party))) + ((("fedlearn-binding", bound),) if bound else ())
        self.incoming = stub.Exchange(iter(self.outgoing.get, None), metadata=metadata)

    def send(self, number, **body):
        self.outgoing.put(self.pb.Envelope(round=number, **body))

    def send_vector(self, number, values, noise=None):
        self.send(number, scores=self.pb.Vector(type=self.pb.FLOAT64, data=values.astype("<f8").tobytes()) if noise is None
                  else self.pb.Vector(type=self.pb.LATTICE, **private_modes.to_lattice(values, *noise)))

    def send_scalars(self, number, kind, values):
        self.send(number, scalars=self.pb.Scalars(kind=kind, data=np.array(values, dtype="<f8").tobytes()))

    def receive(self, number, kind):
        message = next(m for m in self.incoming if m.WhichOneof("body") != "alignment" or kind == "alignment")  # else WAITING: it computes
        if message.WhichOneof("body") == "aborted":
            sys.exit("the other party gave up with error " + message.aborted.error_id)
        assert (message.WhichOneof("body"), message.round) == (kind, number), "the other party is out of step"
        return getattr(message, kind)

    def receive_vector(self, number, kind):
        vector = self.receive(number, kind)
        return private_modes.from_lattice(vector) if vector.type == self.pb.LATTICE else np.frombuffer(vector.data, dtype="<f8")

    def receive_scalars(self, number, kind):
        scalars = self.receive(number, "scalars")
        assert scalars.kind == kind, "the other party is out of step"
        return np.frombuffer(scalars.data, dtype="<f8")

    def complete(self):
        self.send(0, completed=self.pb.Completed())
        self.receive(0, "completed")
        self.outgoing.put(None)
        assert next(self.incoming, None) is None, "the active party sent a message after its last one"


def main(train, *modules):
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    for name, default in (("address", ""), ("job", ""), ("party", ""), ("terms", ""), ("data", ""), ("seed", 0), ("epochs", 1), ("batches", 1), ("step-size", 0.1), ("l2", 0.0), ("split-mod", 0)):
        parser.add_argument("--" + name, type=type(default), default=default, required=default == "")
    parser.add_argument("--split-test", type=lambda text: [int(item) for item in text.split(",")], default=[])
    for module in (private_modes, full_batch, mutual_tls, *modules):
        module.arguments(parser)
    args = parser.parse_args()
    identity = mutual_tls.Identity(args)
    try:
        with tempfile.TemporaryDirectory() as folder, identity.connect(args.address) as channel:
            pb, services = stubs(folder)
            found = train(args, pb, services.FederationStub(channel), identity, *table(args.data))
    except grpc.RpcError as error:
        sys.exit(f"{error.code()}: {error.details()}")
    print(json.dumps({name: list(values) for name, values in found.items()}))


def join(args, pb, stub, identity, terms, fingerprint):
    reply = stub.Join(pb.JoinRequest(protocol_version=1, job_name=args.job, party=args.party, role=pb.ROLE_PASSIVE, terms_digest=bytes.fromhex(terms),
                                     schema_fingerprint=fingerprint, client_nonce=identity.nonce), timeout=60, wait_for_ready=identity.waits)
    return Exchange(pb, stub, reply, args.party, identity.binding(reply))


def align(args, exchange, ids):
    """Training rows, test rows and what the parties agree on about them: digests of all ids, sorted, of which the active party marks the common ones."""
    digests = sorted((hashlib.sha256(struct.pack("<q", args.seed) + name.encode()).digest(), row) for row, name in enumerate(ids))
    exchange.send(0, hashed_ids=b"".join(digest for digest, _ in digests))
    common = np.array([row for (_, row), chosen in zip(digests, exchange.receive(0, "row_selection")) if chosen])
    held_out = np.array([args.split_mod > 0 and int(hashlib.sha256(ids[row].encode()).hexdigest(), 16) % args.split_mod in args.split_test for row in common])
    fingerprint = int.from_bytes(hashlib.sha256(bytes(held_out.astype(np.uint8))).digest()[:6], "big")
    return common[~held_out], common[held_out], [sum(~held_out), sum(held_out), fingerprint]


def train(args, pb, stub, identity, ids, features, columns):
    exchange = join(args, pb, stub, identity, args.terms, hashlib.sha256(repr(columns).encode()).digest())
    train_rows, test_rows, agreement = align(args, exchange, ids)
    exchange.send_scalars(0, pb.AGREEMENT, agreement)
    exchange.receive(0, "scalars")  # all are ready
    mean, deviation = features[train_rows].mean(axis=0), features[train_rows].std(axis=0)
    x, x_test = (private_modes.bounded(args, (features[rows] - mean) / deviation) for rows in (train_rows, test_rows))
    weights, number = (private_modes.one_round if args.mode == "one-round" else full_batch.FITS.get(args.optimizer, sgd))(args, exchange, x)
    for rows in filter(len, (x, x_test) if args.mode == "none" else (x_test,)):  # what privacy.evaluation "disclosed" says, in private modes
        exchange.send_vector(number, rows @ weights)
    errors = full_batch.standard_errors(args, exchange, x, number)
    exchange.complete()
    return {"weights": weights, "errors": errors}


def sgd(args, exchange, x):
    """Rounds of z = X w, from weights of zero."""
    weights, number = np.zeros(x.shape[1]), 0
    for epoch in range(args.epochs):
        rows = x[sorted(range(len(x)), key=lambda row: hashlib.sha256(struct.pack("<qii", args.seed, epoch, row)).digest())] if args.reshuffle else x
        for batch in np.array_split(rows, args.batches):  # the first n mod r batches have one row more, as the protocol wants
            exchange.send_vector(number, batch @ weights, None if args.mode == "none" else (args.weight_norm, args.sigma))
            residuals = np.clip(exchange.receive_vector(number, "residuals"), -args.residual_clip, args.residual_clip)
            weights = (1 - args.step_size * args.l2) * weights - args.step_size / len(batch) * (batch.T @ residuals)
            weights *= min(1, args.weight_norm / max(np.linalg.norm(weights), 1e-300))
            number += 1
    return weights, number


if __name__ == "__main__":
    main(train)
