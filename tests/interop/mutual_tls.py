"""Mutual TLS for passive_party.py, and what binds a session to both certificates (docs/protocol.md, Joining)."""
import hashlib
import os
import pathlib
import ssl
import struct
import sys

import grpc


def arguments(parser):
    parser.add_argument("--certificate", help="PEM file; with it and --key and --peer-certificate the connection is encrypted")
    parser.add_argument("--key", help="PEM file with the private key")
    parser.add_argument("--peer-certificate", help="PEM file: the active party's certificate, and no other is accepted")
    parser.add_argument("--peer", help="a DNS name in the active party's certificate")
    parser.add_argument("--no-wait", action="store_true", help="fail at once where the active party cannot be reached")
    parser.add_argument("--wrong-binding", action="store_true", help="open the exchange with a binding that is not the session's, to see it refused")


class Identity:
    """The party's certificate and the one that it accepts; without them the connection is not encrypted."""

    def __init__(self, args):
        self.certificate, self.key, self.peer = (pathlib.Path(path).read_text() if path else None for path in (args.certificate, args.key, args.peer_certificate))
        self.name, self.waits, self.wrong = args.peer, not args.no_wait, args.wrong_binding
        self.nonce = os.urandom(32) if self.peer else b""

    def connect(self, address):
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        if self.peer is None:
            return grpc.insecure_channel(address, options=options)
        credentials = grpc.ssl_channel_credentials(root_certificates=self.peer.encode(), private_key=self.key and self.key.encode(),
                                                   certificate_chain=self.certificate and self.certificate.encode())
        return grpc.secure_channel(address, credentials, options=options + [("grpc.ssl_target_name_override", self.name)])

    def binding(self, reply):
        """What ties the session to both certificates; the server has sent its own, which must be the same. None without encryption."""
        if self.peer is None:
            return None
        session = reply.session_id.encode()
        own = hashlib.sha256(b"FedLearn session binding v1" + key_hash(self.certificate) + key_hash(self.peer) + reply.job_digest
                             + struct.pack("<i", len(session)) + session + self.nonce + reply.server_nonce).digest()
        if len(reply.server_nonce) != 32 or own != reply.binding:
            sys.exit("the active party sees other certificates")
        return "00" * 32 if self.wrong else own.hex()


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
