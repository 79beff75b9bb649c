#!/usr/bin/env bash
# The main job: an insurer and a clinic train one model over gRPC, each in a process of its own, without privacy, in one round, and with
# HDP-VFL at two budgets.
# Usage: eng/demo.sh [--html FILE]   (default build/demo/report.html)
# Needs the .NET SDK and libsodium (eng/setup.sh glm). Writes build/demo/report.json and the page. Takes under a minute, the build excepted.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit ;; esac

html=""
case "${1:-}" in
    "") ;;
    --html) [ $# -eq 2 ] || { echo "demo: --html needs a file" >&2; exit 2; }; html="$(realpath -m "$2")" ;;
    *) echo "demo: unknown option '$1'; use --html FILE" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."

eng/setup.sh glm
samples="samples/02-two-processes" out="build/demo"
html="${html:-$out/report.html}"
mkdir -p "$out"
passed=0 failed=0
for job in insurer-alone both-plain both-one-round both-epsilon-10 both-epsilon-5; do
    echo
    echo "== $job: ./fedlearn train --config $samples/$job.json"
    if ./fedlearn train --config "$samples/$job.json" --report "$out/$job.json" --html "$out/$job.html"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
done

echo
if [ "$failed" -eq 0 ]; then
    ./fedlearn report "$out"/{insurer-alone,both-plain,both-one-round,both-epsilon-10,both-epsilon-5}.json --report "$out/report.json" --html "$html"
    echo "Written: $out/report.json, $html"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
