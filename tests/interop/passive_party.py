#!/usr/bin/python3
"""A passive party that shares no code with FedLearn: modes none (SGD), hdp-vfl and one-round. It follows docs/protocol.md and needs protos/ alone.

Its noise comes from numpy: it shows what crosses the wire, and protects nobody.

Debian: python3-grpcio python3-numpy protobuf-compiler protobuf-compiler-grpc. Prints its weights as JSON."""
import argparse
import csv
import hashlib
import json
import pathlib
import os
import queue
import shutil
import ssl
import struct
import subprocess
import sys
import tempfile
import unicodedata

import grpc
import numpy as np

PROTOS = pathlib.Path(__file__).resolve().parents[2] / "protos"


def stubs(folder):
    """Generates message classes and stubs from the protos, and imports them."""
    subprocess.run(["protoc", "-I", PROTOS, "--python_out", folder, "--grpc_out", folder,
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


def der_parts(data):
    """The elements of a DER sequence, each with its header."""
    def span(at):
        length, start = data[at + 1], at + 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[at + 2:start], "big")
        return start, start + length
    at, end = span(0)
    while at < end:
        _, after = span(at)
        yield data[at:after]
        at = after


def key_hash(pem):
    """SHA-256 of the SubjectPublicKeyInfo of a certificate: the element after the subject."""
    body = list(der_parts(next(der_parts(ssl.PEM_cert_to_DER_cert(pem)))))
    return hashlib.sha256(body[6 if body[0][0] == 0xA0 else 5]).digest()


def binding(client_pem, server_pem, reply, client_nonce):
    """What ties the session to both certificates; the server has sent its own, which must be the same."""
    session = reply.session_id.encode()
    own = hashlib.sha256(b"FedLearn session binding v1" + key_hash(client_pem) + key_hash(server_pem) + reply.job_digest
                         + struct.pack("<i", len(session)) + session + client_nonce + reply.server_nonce).digest()
    if len(reply.server_nonce) != 32 or own != reply.binding:
        sys.exit("the active party sees other certificates")
    return own.hex()


class Exchange:
    """The two directions of the Exchange call, one message at a time."""

    def __init__(self, pb, stub, session, party, bound=None):
        self.pb, self.outgoing = pb, queue.Queue()
        metadata = (("fedlearn-session", session), ("fedlearn-party", party)) + ((("fedlearn-binding", bound),) if bound else ())
        self.incoming = stub.Exchange(iter(self.outgoing.get, None), metadata=metadata)

    def send(self, number, **body):
        self.outgoing.put(self.pb.Envelope(round=number, **body))

    def send_vector(self, number, values):
        self.send(number, scores=self.pb.Vector(type=self.pb.FLOAT64, data=values.astype("<f8").tobytes()))

    def send_lattice(self, number, values, bound, sigma):
        """Scores with noise of 2^24 lattice steps a deviation, rounded to 64, in the fewest bits for the bound and 12 deviations."""
        fine, step = sigma / 2**24, sigma / 64
        limit = round(bound / step) + 12 * 64
        bits = limit.bit_length() + 1
        noise = np.rint(np.random.default_rng(7).normal(0, 2**24, len(values)))
        integers = np.clip(np.rint((np.rint(np.clip(values, -bound, bound) / fine) + noise) * (fine / step)), -limit, limit)
        packed = sum((int(integer) & ((1 << bits) - 1)) << (i * bits) for i, integer in enumerate(integers))
        self.send(number, scores=self.pb.Vector(type=self.pb.LATTICE, step=step, bits=bits, length=len(integers),
                                                data=packed.to_bytes((len(integers) * bits + 7) // 8, "little")))

    def receive(self, number, kind):
        message = next(self.incoming)
        if message.WhichOneof("body") == "aborted":
            sys.exit("the active party gave up with error " + message.aborted.error_id)
        assert (message.WhichOneof("body"), message.round) == (kind, number), "the active party is out of step"
        return getattr(message, kind)

    def receive_vector(self, number, kind):
        vector = self.receive(number, kind)
        if vector.type == self.pb.FLOAT64:
            return np.frombuffer(vector.data, dtype="<f8")
        assert vector.type == self.pb.LATTICE
        packed, half = int.from_bytes(vector.data, "little"), 1 << (vector.bits - 1)
        assert len(vector.data) == (vector.length * vector.bits + 7) // 8 and packed >> (vector.length * vector.bits) == 0
        integers = [(packed >> (i * vector.bits)) & (2 * half - 1) for i in range(vector.length)]
        return vector.step * np.array([integer - 2 * half if integer >= half else integer for integer in integers], dtype=float)

    def complete(self):
        self.send(0, completed=self.pb.Completed())
        self.receive(0, "completed")
        self.outgoing.put(None)
        for _ in self.incoming:
            sys.exit("the active party sent a message after its last one")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("address", "job", "party", "terms", "data"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mode", choices=("none", "hdp-vfl", "one-round"), default="none")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batches", type=int, default=1)
    parser.add_argument("--step-size", type=float, default=0.1)
    parser.add_argument("--l2", type=float, default=0)
    parser.add_argument("--reshuffle", action="store_true")
    parser.add_argument("--weight-norm", type=float, default=np.inf)
    parser.add_argument("--residual-clip", type=float, default=np.inf)
    parser.add_argument("--normalize", action="store_true", help="rows of length 1, as preprocessing.rows says")
    parser.add_argument("--sigma", type=float, help="deviation of the noise on scores")
    parser.add_argument("--epsilon", type=float, help="one-round: what the labels were randomised with")
    parser.add_argument("--label-rate", type=float, help="one-round: privacy.oneRound.labelRate")
    parser.add_argument("--split-mod", type=int, default=0)
    parser.add_argument("--split-test", type=lambda text: [int(item) for item in text.split(",")], default=[])
    parser.add_argument("--certificate", help="PEM file; with it and --key and --peer-certificate the connection is encrypted")
    parser.add_argument("--key", help="PEM file with the private key")
    parser.add_argument("--peer-certificate", help="PEM file: the active party's certificate, and no other is accepted")
    parser.add_argument("--peer", help="a DNS name in the active party's certificate")
    parser.add_argument("--no-wait", action="store_true", help="fail at once where the active party cannot be reached")
    parser.add_argument("--wrong-binding", action="store_true", help="open the exchange with a binding that is not the session's, to see it refused")
    args = parser.parse_args()
    args.pems = [pathlib.Path(path).read_text() if path else None for path in (args.certificate, args.key, args.peer_certificate)]
    ids, features, columns = table(args.data)
    with tempfile.TemporaryDirectory() as folder:
        pb, services = stubs(folder)
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        with connect(args, options) as channel:
            weights = train(args, pb, services.FederationStub(channel), ids, features, columns)
    print(json.dumps({"party": args.party, "weights": list(weights)}))


def connect(args, options):
    certificate, key, peer = args.pems
    if peer is None:
        return grpc.insecure_channel(args.address, options=options)
    credentials = grpc.ssl_channel_credentials(root_certificates=peer.encode(), private_key=key and key.encode(), certificate_chain=certificate and certificate.encode())
    return grpc.secure_channel(args.address, credentials, options=options + [("grpc.ssl_target_name_override", args.peer)])


def train(args, pb, stub, ids, features, columns):
    certificate, _, peer = args.pems
    nonce = os.urandom(32) if peer else b""
    reply = stub.Join(pb.JoinRequest(protocol_version=1, job_name=args.job, party=args.party, role=pb.ROLE_PASSIVE,
                                     terms_digest=bytes.fromhex(args.terms), schema_fingerprint=hashlib.sha256(repr(columns).encode()).digest(),
                                     client_nonce=nonce),
                      timeout=60, wait_for_ready=not args.no_wait)
    bound = binding(certificate, peer, reply, nonce) if peer else None
    exchange = Exchange(pb, stub, reply.session_id, args.party, "00" * 32 if args.wrong_binding else bound)

    # Alignment: digests of all ids, sorted; the active party marks the common ones.
    digests = sorted((hashlib.sha256(struct.pack("<q", args.seed) + name.encode()).digest(), row) for row, name in enumerate(ids))
    exchange.send(0, hashed_ids=b"".join(digest for digest, _ in digests))
    common = [row for (_, row), chosen in zip(digests, exchange.receive(0, "row_selection")) if chosen]

    # Split and agreement.
    held_out = np.array([args.split_mod > 0 and int(hashlib.sha256(ids[row].encode()).hexdigest(), 16) % args.split_mod in args.split_test
                         for row in common])
    common = np.array(common)
    train_rows, test_rows = common[~held_out], common[held_out]
    fingerprint = int.from_bytes(hashlib.sha256(bytes(held_out.astype(np.uint8))).digest()[:6], "big")
    agreement = np.array([len(train_rows), len(test_rows), fingerprint], dtype="<f8")
    exchange.send(0, scalars=pb.Scalars(kind=pb.AGREEMENT, data=agreement.tobytes()))
    exchange.receive(0, "scalars")  # all are ready

    # Standardised by the training rows.
    mean, deviation = features[train_rows].mean(axis=0), features[train_rows].std(axis=0)
    x, x_test = ((features[rows] - mean) / deviation for rows in (train_rows, test_rows))
    if args.normalize:
        x, x_test = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, x_test))
    weights, number = one_round(args, exchange, x) if args.mode == "one-round" else sgd(args, exchange, x)

    # Evaluation, and the end. What the private modes disclose here is what privacy.evaluation "disclosed" says.
    if args.mode == "none":
        exchange.send_vector(number, x @ weights)
    if len(test_rows):
        exchange.send_vector(number, x_test @ weights)
    exchange.complete()
    return weights


def sgd(args, exchange, x):
    """Rounds of z = X w, from weights of zero."""
    weights, number = np.zeros(x.shape[1]), 0
    for epoch in range(args.epochs):
        rows = x
        if args.reshuffle:
            digests = [hashlib.sha256(struct.pack("<qii", args.seed, epoch, row)).digest() for row in range(len(x))]
            rows = x[sorted(range(len(x)), key=digests.__getitem__)]
        for batch in np.array_split(rows, args.batches):  # the first n mod r batches have one row more, as the protocol wants
            if args.mode == "none":
                exchange.send_vector(number, batch @ weights)
            else:
                exchange.send_lattice(number, batch @ weights, args.weight_norm, args.sigma)
            residuals = np.clip(exchange.receive_vector(number, "residuals"), -args.residual_clip, args.residual_clip)
            weights = (1 - args.step_size * args.l2) * weights - args.step_size / len(batch) * (batch.T @ residuals)
            weights *= min(1, args.weight_norm / max(np.linalg.norm(weights), 1e-300))
            number += 1
    return weights, number


def one_round(args, exchange, x):
    """docs/proofs/one-round.md, binomial: a clipped ridge regression of the debiased labels, by Newton's method with halved steps."""
    n, score_clip, slope_clip, alpha, rate = len(x), 2.0, 4.0, 1.0, args.label_rate
    labels = np.frombuffer(exchange.receive(0, "randomized_labels"), dtype=np.uint8)
    assert len(labels) == n and set(labels) <= {0, 1}
    flip = 1 / (1 + np.exp(args.epsilon))
    scale = 0.75 * rate * (1 - rate)
    bound = max((1 - flip) / (1 - 2 * flip) - rate, flip / (1 - 2 * flip) + rate) / scale
    targets = ((labels - flip) / (1 - 2 * flip) - rate) / scale
    penalty = max(((slope_clip + bound) / (alpha * score_clip)) ** 2 / n,
                  (flip * (1 - flip) / (1 - 2 * flip) ** 2 + 0.15) / (2 * scale**2 * n))

    def objective(w):
        z = np.abs(x @ w)
        return np.mean(np.where(z <= slope_clip, z**2 / 2, slope_clip * (z - slope_clip / 2)) - targets * (x @ w)) + penalty / 2 * w @ w

    weights = np.zeros(x.shape[1])
    for _ in range(100):
        z = x @ weights
        gradient = x.T @ (np.clip(z, -slope_clip, slope_clip) - targets) / n + penalty * weights
        if np.linalg.norm(gradient) < 1e-12:
            break
        direction = np.linalg.solve(x[np.abs(z) < slope_clip].T @ x[np.abs(z) < slope_clip] / n + penalty * np.eye(len(weights)), -gradient)
        length = 1.0
        while length > 1e-10 and objective(weights + length * direction) > objective(weights) + 1e-4 * length * gradient @ direction:
            length /= 2
        weights = weights + length * direction
    exchange.send_lattice(0, np.clip(x @ weights, -score_clip, score_clip), score_clip, args.sigma)
    return weights, 1


if __name__ == "__main__":
    try:
        main()
    except grpc.RpcError as error:
        sys.exit(f"{error.code()}: {error.details()}")
