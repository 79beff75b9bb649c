#!/usr/bin/env bash
# Round trips of a training message over loopback between two processes, with gRPC of Python and of C++ beside it in interleaved turns, and bytes on the socket; written to
# benchmarks/results/DATE-wire-speed.md. Options are those of the verb: --turns, --rounds, --warm-up, --only, --out.
# Usage: benchmarks/wire.sh [OPTIONS]   (Debian: python3-grpcio, libgrpc++-dev, protobuf-compiler-grpc)
set -euo pipefail
cd "$(dirname "$0")/.."
make -s -C benchmarks/peers
dotnet build benchmarks/FedLearn.Experiments -c Release --nologo -v quiet -clp:ErrorsOnly
exec dotnet benchmarks/FedLearn.Experiments/bin/Release/net10.0/FedLearn.Experiments.dll wire-speed "$@"
