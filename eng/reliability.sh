#!/usr/bin/env bash
# Runs the tests of faults, kills, hostile input and load, and writes their table to docs/reliability.md. Usage: eng/reliability.sh [--fast]
#   --fast   the counts of the fast tier instead of those that the claims name
# The last line is "N passed, N failed, N skipped"; the exit code is 1 when anything failed.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit ;; esac
cd "$(dirname "$0")/.."

tier=full
case "${1:-}" in
    "") export FEDLEARN_FULL=1 ;;
    --fast) tier=fast ;;
    *) echo "reliability: unknown option '$1'; use --fast" >&2; exit 2 ;;
esac

eng/setup.sh all
project=tests/FedLearn.Reliability.Tests name=FedLearn.Reliability.Tests results=build/reliability
dotnet build "$project" -c Release --nologo -v quiet -clp:ErrorsOnly
rm -rf "$results"
mkdir -p "$results"
export FEDLEARN_RELIABILITY="$PWD/$results/reliability.jsonl"
code=0
dotnet "$project/bin/Release/net10.0/$name.dll" -xml "$results/$name.xml" -noLogo -noColor | tee "$results/$name.log" || code=$?
[ -s "$results/$name.xml" ] || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }
python3 eng/reliability.py "$results" "$tier" reliability
attribute() { grep -o '<assembly [^>]*>' "$results/$name.xml" | grep -o " $1=\"[0-9]*\"" | tr -dc '0-9\n' | awk '{ n += $1 } END { print n + 0 }'; }
failed=$(($(attribute failed) + $(attribute errors)))
[ "$code" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
echo "$(attribute passed) passed, $failed failed, $(($(attribute skipped) + $(attribute not-run))) skipped"
[ "$failed" -eq 0 ]
