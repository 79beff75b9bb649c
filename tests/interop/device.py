#!/usr/bin/python3
"""A device of a recommendation on devices that shares no code with FedLearn. It follows docs/protocol.md; what it shares with recommendation_view.py is in
towers.py and masks.py, and the calls in passive_party.py. It has all views, with numbers only, and always takes part.

Debian: as passive_party.py, with --masked python3-cryptography too. Prints how many updates it sent."""
import argparse
import hashlib
import json
import pathlib
import struct
import sys
import tempfile

import grpc
import numpy as np

import towers
from passive_party import Exchange, stubs

OFFER, BEGIN, GIVEN_UP, END, ACCEPT, DECLINE, ACCEPT_AND_RETURN, RETURN = range(8)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("address", "job", "party", "terms"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--data", required=True, help="JSON: items, a list of numbers each; views, of each its name and a list of numbers for each sample; positives, the item of each sample")
    parser.add_argument("--layers", type=lambda text: [int(item) for item in text.split(",")], required=True)
    for name, default in (("seed", 0), ("gamma", 10.0), ("negatives", 4), ("threshold", 2), ("colluders", 0)):
        parser.add_argument("--" + name, type=type(default), default=default)
    parser.add_argument("--clip", type=float)
    parser.add_argument("--noise-multiplier", type=float)
    for name in ("sum", "full", "masked"):
        parser.add_argument("--" + name, action="store_true")
    parser.add_argument("--lost-after-upload", action="store_true", help="loses its connection once, and comes back")
    parser.add_argument("--enrolment", help="JSON, with an active server: own seed, and of all clients number and public key, in hexadecimal")
    return parser.parse_args()


class Device:
    """What the device computes."""

    def __init__(self, args):
        self.args, data = args, json.loads(pathlib.Path(args.data).read_text())
        self.items, self.positives = np.array(data["items"], dtype=float), data["positives"]
        self.names, self.views = [view["name"] for view in data["views"]], [np.array(view["rows"], dtype=float) for view in data["views"]]
        self.inputs = [values.shape[1] for values in (self.items, *self.views)]
        self.lengths = [sum((a + 1) * b for a, b in zip([inputs, *args.layers], args.layers)) for inputs in self.inputs]

    def update(self, parameters, attempt):
        """Gradient of the loss summed over the samples, one block for the items and one for each view."""
        blocks = np.split(parameters, np.cumsum(self.lengths)[:-1])
        items, *views = [towers.Tower(inputs, self.args.layers, block) for inputs, block in zip(self.inputs, blocks)]
        item_units, item_lengths = unit(items.forward(self.items))
        vectors = [tower.forward(rows) for tower, rows in zip(views, self.views)]
        heads = [sum(vectors)] if self.args.sum else vectors  # late: every view has a loss of its own, and the loss is their mean
        gradients, item_gradient = [np.zeros_like(head) for head in heads], np.zeros_like(item_units)
        draws = towers.Draws(towers.NEGATIVES, device_seed(self.args.seed, self.args.party), attempt)
        for sample, positive in enumerate(self.positives):
            others = [i for i in range(len(self.items)) if i != positive] if self.args.full else [draws.below(len(self.items)) for _ in range(self.args.negatives)]
            candidates = np.array([positive, *(item for item in others if item != positive)])
            for head, gradient in zip(heads, gradients):
                (own,), (length,) = unit(head[sample:sample + 1])
                logits = self.args.gamma * item_units[candidates] @ own
                slope = np.exp(logits - logits.max())
                slope = (slope / slope.sum() - (np.arange(len(slope)) == 0)) * self.args.gamma / len(heads)
                np.add.at(item_gradient, candidates, np.outer(slope, own))
                gradient[sample] = through(own, length, slope @ item_units[candidates])
        gradients = gradients * len(views) if self.args.sum else gradients
        return np.concatenate([items.gradient(through(item_units, item_lengths, item_gradient)), *(tower.gradient(g) for tower, g in zip(views, gradients))])

    def release(self, update):
        """What may leave: numbers and no step, or integers and their step. The noise comes from numpy with a fixed seed, and protects nobody."""
        if self.args.noise_multiplier is None:
            return np.append(update, len(self.positives)), 2.0**-20
        deviation = self.args.noise_multiplier * self.args.clip / np.sqrt(self.args.threshold - self.args.colluders)
        step = deviation / 2**24
        update = update * min(1, self.args.clip / np.linalg.norm(update) * (1 - 1e-9))
        return (np.rint(update / step) + np.rint(np.random.default_rng(7).normal(0, 2**24, len(update)))) * step, step


def unit(rows):
    lengths = np.sqrt((rows**2).sum(axis=1) + 1e-6)
    return rows / lengths[:, None], lengths


def through(units, lengths, gradient):
    """Gradient of rows from that of their unit vectors."""
    return ((gradient.T - units.T * (gradient * units).sum(axis=-1)) / lengths).T


def device_seed(seed, name):
    hashed = 0xCBF29CE484222325
    for unit16 in struct.unpack(f"<{len(name.encode('utf-16-le')) // 2}H", name.encode("utf-16-le")):
        hashed = (hashed ^ unit16) * 0x100000001B3 & towers.MASK
    return towers.mix(seed ^ towers.mix(hashed))


class Session:
    """The device's side of its session with the server."""

    def __init__(self, args, pb, stub, device):
        self.args, self.pb, self.stub, self.device, self.sent, self.last, self.lost = args, pb, stub, device, 0, -1, False
        self.enrolled = json.loads(pathlib.Path(args.enrolment).read_text()) if args.enrolment else None

    def join(self):
        terms = bytes.fromhex(self.args.terms)
        reply = self.stub.Join(self.pb.JoinRequest(protocol_version=1, job_name=self.args.job, party=self.args.party, role=self.pb.ROLE_PASSIVE, terms_digest=terms,
                                                   schema_fingerprint=hashlib.sha256(terms).digest()), timeout=60, wait_for_ready=True)
        self.exchange, self.round = Exchange(self.pb, self.stub, reply, self.args.party), 0

    def run(self):
        self.join()
        while (invitation := self.invitation())[0] != END:
            if invitation[0] == RETURN:
                self.come_back(invitation)
            else:
                self.attempt(invitation)
            self.round += 1
        self.exchange.complete()

    def step(self, step, data):
        self.exchange.send(self.round, aggregation=self.pb.Aggregation(step=step, data=data))

    def answer(self, invitation, kind):
        self.step(self.pb.INVITATION, struct.pack("<B5i", kind, *invitation[1:]))

    def receive(self, step):
        """The bytes of the step that is due; None when the attempt was given up."""
        message = self.exchange.receive(self.round, "aggregation")
        if message.step == self.pb.INVITATION and message.data[0] == GIVEN_UP:
            return None
        assert message.step == step, "the server is out of step"
        return message.data

    def invitation(self):
        return struct.unpack("<B5i", self.receive(self.pb.INVITATION))

    def attempt(self, offer):
        assert offer[0] == OFFER and offer[1] > self.last, "the server asks for an attempt again"
        self.last = offer[1]
        self.answer(offer, ACCEPT_AND_RETURN if self.args.lost_after_upload else ACCEPT)
        if (begin := self.receive(self.pb.INVITATION)) is None:
            return
        kind, attempt, number, version, clients, client = struct.unpack("<B5i", begin)
        assert kind == BEGIN and (attempt, number, version) == offer[1:4] and clients >= self.args.threshold
        model = self.exchange.receive_vector(self.round, "model_parameters")
        values, step = self.device.release(self.device.update(model, attempt))
        self.sent += 1
        if not self.args.masked:
            self.exchange.send(self.round, model_update=self.pb.Vector(type=self.pb.FLOAT64, data=values.astype("<f8").tobytes()) if self.args.noise_multiplier is None else lattice(self.pb, values, step))
            return
        import masks
        threshold = max(self.args.threshold, (clients + self.args.colluders) // 2 + 1)
        tensors = list(zip(["items", *("view " + name for name in self.device.names)], self.device.lengths)) + ([("samples", 1)] if self.args.noise_multiplier is None else [])
        enrolment = (masks.enrolment_key(bytes.fromhex(self.enrolled["seed"])), {int(other): bytes.fromhex(key) for other, key in self.enrolled["keys"].items()}) if self.enrolled else (None, None)
        self.aggregation = masks.Attempt(bytes.fromhex(self.args.terms), attempt, number, version, hashlib.sha256(model.astype("<f8").tobytes()).digest(),
                                         tensors, step, clients, threshold, self.args.colluders, self.enrolled["client"] if self.enrolled else client, *enrolment)
        self.step(self.pb.KEYS, self.aggregation.keys())
        if (roster := self.receive(self.pb.ROSTER)) is None:
            return
        self.step(self.pb.SHARES, self.aggregation.shares(roster))
        if (delivery := self.receive(self.pb.DELIVERY)) is None:
            return
        self.upload = begin, self.aggregation.upload(delivery, masks.integers(values, step))
        self.answer_for_upload()

    def answer_for_upload(self):
        self.exchange.send(self.round, masked=self.pb.Masked(values=self.upload[1], step=self.aggregation.step))
        if self.args.lost_after_upload and not self.lost:
            self.lost, self.round = True, -1
            self.exchange.incoming.cancel()
            self.rejoin()
            return
        if self.enrolled:
            if (unmask := self.receive(self.pb.UNMASK)) is None:
                return
            self.step(self.pb.CONSENT, self.aggregation.consent(unmask))
        if (request := self.receive(self.pb.CONSENTS if self.enrolled else self.pb.UNMASK)) is not None:
            self.step(self.pb.REVEAL, self.aggregation.reveal(request))

    def rejoin(self):
        """The server may not have noticed yet that the earlier session has ended."""
        while True:
            try:
                self.join()
                self.round = -1
                return
            except grpc.RpcError as error:
                if ("fedlearn-error-id", "FL4013") not in (error.trailing_metadata() or ()):
                    raise

    def come_back(self, invitation):
        begin, _ = self.upload
        assert struct.pack("<B5i", BEGIN, *invitation[1:]) == begin
        self.answer(invitation, ACCEPT_AND_RETURN)
        self.answer_for_upload()


def lattice(pb, values, step):
    integers = np.rint(values / step).astype(np.int64)
    bits = int(np.abs(integers).max()).bit_length() + 1
    packed = sum((int(integer) & ((1 << bits) - 1)) << (i * bits) for i, integer in enumerate(integers))
    return pb.Vector(type=pb.LATTICE, step=step, bits=bits, length=len(integers), data=packed.to_bytes((len(integers) * bits + 7) // 8, "little"))


def main():
    args = arguments()
    with tempfile.TemporaryDirectory() as folder:
        pb, services = stubs(folder)
        with grpc.insecure_channel(args.address, options=[("grpc.max_receive_message_length", -1)]) as channel:
            session = Session(args, pb, services.FederationStub(channel), Device(args))
            session.run()
    print(json.dumps({"party": args.party, "updates": session.sent}))


if __name__ == "__main__":
    try:
        main()
    except grpc.RpcError as error:
        sys.exit(f"{error.code()}: {error.details()}")
