#!/usr/bin/python3
"""A local port that leads through a coordinator to the party that hosts a session (protos/fedlearn/v1/relay.proto), for any gRPC client.

Shares no code with FedLearn. Prints its port, then serves one connection after the other until it is killed. Debian: python3-grpcio
protobuf-compiler protobuf-compiler-grpc."""
import argparse
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import pathlib
import threading

import grpc

PROTOS = pathlib.Path(__file__).resolve().parents[2] / "protos"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("coordinator", "job", "terms", "party", "host"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--purpose", default="train")
    args = parser.parse_args()
    metadata = [("fedlearn-" + name, getattr(args, name)) for name in ("job", "purpose", "terms", "party", "host")]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["protoc", "-I", PROTOS, "--python_out", folder, "--grpc_out", folder,
                        "--plugin=protoc-gen-grpc=" + shutil.which("grpc_python_plugin"), "fedlearn/v1/relay.proto"], check=True)
        sys.path.insert(0, folder)
        from fedlearn.v1 import relay_pb2, relay_pb2_grpc
        with socket.create_server(("127.0.0.1", 0)) as listener, grpc.insecure_channel(args.coordinator) as channel:
            print(listener.getsockname()[1], flush=True)
            while True:
                connect(listener.accept()[0], relay_pb2.Chunk, relay_pb2_grpc.RelayStub(channel), metadata)


def connect(client, chunk, stub, metadata):
    outgoing = queue.Queue(maxsize=4)  # a full queue stops reading from the client
    call = stub.Reach(iter(outgoing.get, None), metadata=metadata)
    try:
        assert next(call).data == b"", "the other side is announced by an empty chunk"

        def send():
            while data := client.recv(1 << 16):
                outgoing.put(chunk(data=data))
            outgoing.put(None)

        threading.Thread(target=send, daemon=True).start()
        for received in call:
            client.sendall(received.data)
    finally:
        client.close()


if __name__ == "__main__":
    try:
        main()
    except grpc.RpcError as error:
        sys.exit(f"{error.code()}: {error.details()}")
