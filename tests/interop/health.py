#!/usr/bin/python3
"""Calls grpc.health.v1.Health at an address with grpcio: Check of two services, then the first message of Watch. Prints JSON."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import grpc

PROTOS = pathlib.Path(__file__).resolve().parents[2] / "protos"


def main():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["protoc", "-I", PROTOS / "grpc/health/v1", "--python_out", folder, "--grpc_out", folder,
                        "--plugin=protoc-gen-grpc=" + shutil.which("grpc_python_plugin"), "health.proto"], check=True)
        sys.path.insert(0, folder)
        import health_pb2
        import health_pb2_grpc
        name = health_pb2.HealthCheckResponse.ServingStatus.Name
        with grpc.insecure_channel(sys.argv[1]) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            known = stub.Check(health_pb2.HealthCheckRequest(service="fedlearn.v1.Federation"), timeout=30, wait_for_ready=True)
            try:
                stub.Check(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=30)
                unknown = "no error"
            except grpc.RpcError as error:
                unknown = error.code().name
            watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=30)
            first = name(next(watch).status)
            watch.cancel()
            try:
                channel.unary_unary("/fedlearn.v1.Federation/NoSuchMethod")(b"", timeout=30)
                method = "no error"
            except grpc.RpcError as error:
                method = error.code().name
    print(json.dumps({"known": name(known.status), "unknown": unknown, "watch": first, "method": method}))


main()
