#!/usr/bin/python3
"""Online prediction without a line of FedLearn (docs/protocol.md). With --address a passive party that answers what it is asked, until the other side ends: its
scores are the columns of --data times --weights. With --ask an active party that asks that party for the ids of each of --questions (between spaces),
and prints for each the other party's score, or null."""
import argparse
import hashlib
import json
import secrets
import struct
import sys
import tempfile

import active_party
import mutual_tls
import numpy as np
import passive_party


def digest(args, name):
    return hashlib.sha256(struct.pack("<q", args.seed) + name.encode()).digest()


def fingerprint(training):
    """Of the text `trainingId jobDigest`, or where the model file has no trainingId the job's digest itself."""
    return hashlib.sha256(training.encode()).digest() if " " in training else bytes.fromhex(training)


def answer(args, pb, services):
    identity = mutual_tls.Identity(args)
    with identity.connect(args.address) as channel:
        exchange = passive_party.join(args, pb, services.FederationStub(channel), identity, args.terms, fingerprint(args.training))
        assert [party.name for party in exchange.reply.parties][1:] == [args.party]
        if len({party.schema_fingerprint for party in exchange.reply.parties}) > 1:
            exchange.send(0, aborted=pb.Aborted(error_id="FL2402"))
            sys.exit("the parties hold parts of different trainings")
        ids, features, _ = passive_party.table(args.data)
        known = dict(zip((digest(args, name) for name in ids), features @ np.array(args.weights)))
        number = 0
        while asked := exchange.receive(number, "hashed_ids"):
            digests = [asked[i:i + 32] for i in range(0, len(asked), 32)]
            assert len(asked) % 32 == 0 and len(digests) <= 4096 and digests == sorted(set(digests)), "not a question"
            exchange.send(number, row_selection=bytes(item in known for item in digests))
            exchange.send_vector(number, np.array([known[item] for item in digests if item in known]))
            number = (number + 1) % 2**31
        exchange.complete()
    return {"answered": number}


def ask(args, pb, services):
    args.peers = [args.ask]
    server, peers = active_party.host(args, pb, services, fingerprint(args.training))
    peer, number, found = peers[args.ask], 0, {}
    for names in [None, *(text.split() for text in args.questions)]:  # at first a question about nobody
        asked = {digest(args, item): item for item in names} if names else {secrets.token_bytes(32): ""}
        peer.send(number, hashed_ids=b"".join(sorted(asked)))
        present = peer.receive(number, "row_selection")
        scores = iter(peer.receive_vector(number, "scores"))
        assert len(present) == len(asked) and set(present) <= {0, 1}
        found.update({asked[item]: next(scores) if has else None for item, has in zip(sorted(asked), present)})
        assert next(scores, None) is None, "more scores than rows"
        number += 1
    peer.send(number, hashed_ids=b"")
    active_party.end(server, peers)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("job", "party", "terms", "training"):
        parser.add_argument("--" + name, required=True)
    for name in ("address", "ask", "data"):
        parser.add_argument("--" + name)
    parser.add_argument("--questions", nargs="*", default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=lambda text: [float(item) for item in text.split(",")])
    mutual_tls.arguments(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps((ask if args.ask else answer)(args, *passive_party.stubs(folder))))


if __name__ == "__main__":
    main()
