#!/usr/bin/env bash
# Runs sessions over and over, several at once, of random sizes, one in eight with a fault of the network. Usage: eng/soak.sh [MINUTES [SEED]]   (default 60, 7)
# A line a minute: sessions done, faults, failures, resident memory, handles. Exits with 1 on a wrong model, an unexpected error, or growth beyond what
# tests/FedLearn.Reliability.Tests/Faults/Soak.cs states (heap 6 MB, 8 handles, resident memory 150 MB).
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit ;; esac
cd "$(dirname "$0")/.."
project=tests/FedLearn.Reliability.Tests
dotnet build "$project" -c Release -v q -clp:ErrorsOnly --nologo
exec dotnet "$project/bin/Release/net10.0/FedLearn.Reliability.Tests.dll" child network soak "${1:-60}" "${2:-7}"
