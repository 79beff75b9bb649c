#!/usr/bin/python3
"""An active party of mode none with SGD that shares no code with FedLearn (docs/protocol.md): it serves what passive_party.py calls. Labels are the last column,
0 or 1. Prints the port on which it listens, then its weights, the intercept last, and the mean loss of the training rows, as JSON."""
import argparse
import concurrent.futures
import functools
import hashlib
import json
import queue
import secrets
import struct
import tempfile
import threading
import urllib.parse

import grpc
import numpy as np
import passive_party


class Peer(passive_party.Exchange):
    """The two directions of a passive party's Exchange call, seen from the other side."""

    def __init__(self, pb):
        self.pb, self.outgoing, self.calls = pb, queue.Queue(), queue.Queue()

    @functools.cached_property
    def incoming(self):
        return self.calls.get(timeout=60)

    def send_residuals(self, number, values):
        self.send(number, residuals=self.pb.Vector(type=self.pb.FLOAT64, data=values.astype("<f8").tobytes()))


def host(args, pb, services, fingerprint):
    """Serves one session, and returns the server and the passive parties by name."""
    peers = {name: Peer(pb) for name in args.peers}
    session, joined, complete = secrets.token_hex(8), {}, threading.Barrier(len(peers))

    class Federation(services.FederationServicer):
        def Join(self, request, context):
            wanted = (1, args.job, pb.ROLE_PASSIVE, bytes.fromhex(args.terms))
            if request.party not in peers or (request.protocol_version, request.job_name, request.role, request.terms_digest) != wanted:
                context.set_trailing_metadata((("fedlearn-error-id", "FL4010"),))
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the job differs from the one here")
            joined[request.party] = request.schema_fingerprint
            complete.wait(60)
            parties = [(args.party, fingerprint)] + [(name, joined[name]) for name in peers]
            entries = b"".join(struct.pack("<i", len(name.encode())) + name.encode() + schema for name, schema in parties)
            return pb.JoinReply(session_id=session, job_digest=hashlib.sha256(request.terms_digest + entries).digest(),
                                parties=[pb.JoinedParty(name=name, schema_fingerprint=schema) for name, schema in parties])

        def Exchange(self, requests, context):
            metadata = dict(context.invocation_metadata())
            assert metadata["fedlearn-session"] == session
            context.send_initial_metadata(())
            peer = peers[urllib.parse.unquote(metadata["fedlearn-party"])]
            peer.calls.put(requests)
            yield from iter(peer.outgoing.get, None)

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2 * len(peers)), options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
    services.add_FederationServicer_to_server(Federation(), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    return server, peers


def align(args, peers, ids):
    """Own training and test rows, and what all must agree on about them."""
    own = {hashlib.sha256(struct.pack("<q", args.seed) + name.encode()).digest(): row for row, name in enumerate(ids)}
    theirs = {}
    for peer in peers.values():
        data = peer.receive(0, "hashed_ids")
        theirs[peer] = [data[i:i + 32] for i in range(0, len(data), 32)]
        assert len(data) % 32 == 0 and theirs[peer] == sorted(set(theirs[peer])), "ids that are not sorted"
    common = sorted(set(own).intersection(*theirs.values()))
    for peer, digests in theirs.items():
        peer.send(0, row_selection=bytes(digest in set(common) for digest in digests))
    rows = np.array([own[digest] for digest in common])
    held_out = np.array([args.split_mod > 0 and int(hashlib.sha256(ids[row].encode()).hexdigest(), 16) % args.split_mod in args.split_test for row in rows])
    fingerprint = int.from_bytes(hashlib.sha256(bytes(held_out.astype(np.uint8))).digest()[:6], "big")
    return rows[~held_out], rows[held_out], [sum(~held_out), sum(held_out), fingerprint]


def train(args, pb, peers, ids, table):
    train_rows, test_rows, agreement = align(args, peers, ids)
    features, labels = table[:, :-1], table[train_rows, -1]
    for peer in peers.values():
        assert list(peer.receive_scalars(0, pb.AGREEMENT)) == agreement, "the parties hold other rows"
    for peer in peers.values():
        peer.send_scalars(0, pb.AGREEMENT, [1])
    x = (features[train_rows] - features[train_rows].mean(axis=0)) / features[train_rows].std(axis=0)
    weights, intercept, number = np.zeros(x.shape[1]), 0.0, 0
    for _ in range(args.epochs):
        for batch in np.array_split(np.arange(len(x)), args.batches):
            scores = x[batch] @ weights + intercept + sum(peer.receive_vector(number, "scores") for peer in peers.values())
            residuals = 1 / (1 + np.exp(-scores)) - labels[batch]
            for peer in peers.values():
                peer.send_residuals(number, residuals)
            weights = (1 - args.step_size * args.l2) * weights - args.step_size / len(batch) * (x[batch].T @ residuals)
            intercept, number = intercept - args.step_size * residuals.mean(), number + 1
    scores = x @ weights + intercept + sum(peer.receive_vector(number, "scores") for peer in peers.values())
    if len(test_rows):
        for peer in peers.values():
            assert len(peer.receive_vector(number, "scores")) == len(test_rows)
    return {"weights": [*weights, intercept], "loss": np.mean(np.logaddexp(0, scores) - labels * scores)}


def end(server, peers):
    for peer in peers.values():
        peer.receive(0, "completed")
    for peer in peers.values():
        peer.send(0, completed=peer.pb.Completed())
        peer.outgoing.put(None)
    server.stop(grace=30).wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("job", ""), ("party", ""), ("terms", ""), ("data", ""), ("seed", 0), ("epochs", 1), ("batches", 1), ("step-size", 0.1), ("l2", 0.0), ("split-mod", 0)):
        parser.add_argument("--" + name, type=type(default), default=default, required=default == "")
    parser.add_argument("--split-test", type=lambda text: [int(item) for item in text.split(",")], default=[])
    parser.add_argument("--peers", nargs="+", required=True, help="the passive parties, in the order of the job")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pb, services = passive_party.stubs(folder)
        ids, table, columns = passive_party.table(args.data)
        server, peers = host(args, pb, services, hashlib.sha256(repr(columns).encode()).digest())
        found = train(args, pb, peers, ids, table)
        end(server, peers)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
