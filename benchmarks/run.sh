#!/usr/bin/env bash
# The benchmarks of speed, each beside its peers in the same call. benchmarks/README.md has the convention.
# Usage: benchmarks/run.sh [--out FOLDER] [VERB ...]        every verb of the list below, or those named; dated files into FOLDER (default benchmarks/results); exit code 1 when a bar is missed
#        benchmarks/run.sh --quick [--update] [VERB ...]    a quick set, under 5 minutes; exit code 1 when a ratio has lost more than its tolerance against benchmarks/ratios.json
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit ;; esac
cd "$(dirname "$0")/.."

# One line a verb: its name, then its options.
full=("glm-speed" "wire-speed" "grpc-speed" "noise-speed" "csv-load" "startup" "large-data" "scaling")
quick=("glm-speed --quick" "wire-speed --quick" "grpc-speed --quick" "noise-speed --quick" "csv-load --quick" "startup --quick" "large-data --quick")

mode=full update=() out=benchmarks/results only=()
while [ $# -gt 0 ]; do
    case "$1" in
        --quick) mode=quick ;;
        --update) update=(--update) ;;
        --out) [ $# -ge 2 ] || { echo "run: --out needs a folder" >&2; exit 2; }; out="$2"; shift ;;
        --help | -h) sed -n '2,4s/^# //p' "$0"; exit 0 ;;
        -*) echo "run: unknown option '$1'; use --quick, --update, --out FOLDER or names of verbs" >&2; exit 2 ;;
        *) only+=("$1") ;;
    esac
    shift
done
if [ "$mode" = full ] && [ ${#update[@]} -gt 0 ]; then echo "run: --update goes with --quick" >&2; exit 2; fi

for project in src/FedLearn.Cli benchmarks/FedLearn.Experiments; do
    dotnet build "$project" -c Release --nologo -v quiet -clp:ErrorsOnly >&2
done
# The peers in C++ of wire-speed; its quick run does without.
[ "$mode" = quick ] || make -s -C benchmarks/peers >&2
program=(dotnet benchmarks/FedLearn.Experiments/bin/Release/net10.0/FedLearn.Experiments.dll)
known="$("${program[@]}" --help)"
work=build/bench
mkdir -p "$work" "$out"
measured="$work/quick.txt"
: > "$measured"

code=0 ran=0
declare -n list="$mode"
for line in "${list[@]}"; do
    read -ra words <<< "$line"
    verb="${words[0]}"
    if [ ${#only[@]} -gt 0 ] && [[ " ${only[*]} " != *" $verb "* ]]; then continue; fi
    if ! grep -Eq "^  $verb( |\$)" <<< "$known"; then echo "run: there is no verb $verb" >&2; code=1; continue; fi
    ran=$((ran + 1))
    echo "run: $line, load $(cut -d' ' -f1-3 /proc/loadavg 2> /dev/null || echo unknown)" >&2
    if [ "$mode" = quick ]; then
        "${program[@]}" "${words[@]}" | tee -a "$measured" || { echo "run: $verb ended with an error" >&2; code=1; }
    else
        "${program[@]}" "${words[@]}" --out "$out" || { echo "run: $verb missed a bar, or ended with an error" >&2; code=1; }
        [ "$verb" != scaling ] || for result in "$out"/*-scaling.json; do /usr/bin/python3 benchmarks/scaling_plot.py "$result" || code=1; done
    fi
done
[ $ran -gt 0 ] || { echo "run: nothing was run" >&2; exit 2; }

if [ "$mode" = quick ]; then
    subset=()
    [ ${#only[@]} -eq 0 ] || subset=(--only "${only[@]}")
    python3 benchmarks/ratios.py "$measured" "${update[@]}" "${subset[@]}" || code=1
fi
exit $code
