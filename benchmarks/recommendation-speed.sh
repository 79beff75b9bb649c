#!/usr/bin/env bash
# Training samples a second of split recommendation against PyTorch, side by side: one thread on one processor, then two.
# Usage: benchmarks/recommendation-speed.sh [PYTORCH_SCRIPT]   (default: torch_dssm_speed.py in the folder peers beside the one that FEDLEARN_DATA names, or ../shared/peers)
# The script prints lines "torch ... -> N best, N median samples/s" for its number of threads; the better of its lines counts. Needs eng/setup.sh towers test.
set -euo pipefail
cd "$(dirname "$0")/.."
script="${1:-${FEDLEARN_DATA:-../shared/data}/../peers/torch_dssm_speed.py}"
[ -f "$script" ] || { echo "recommendation-speed: no PyTorch script at $script" >&2; exit 2; }
dotnet build benchmarks/FedLearn.Experiments -c Release --nologo -v quiet -clp:ErrorsOnly
ours() { dotnet benchmarks/FedLearn.Experiments/bin/Release/net10.0/FedLearn.Experiments.dll recommend-speed "$@"; }
# figure WORD: largest number before the word in the lines read.
figure() { grep -oE "[0-9]+ $1" | awk '{ if ($1 > most) most = $1 } END { print most + 0 }'; }

for threads in 1 2; do
    pin=(taskset -c "$([ "$threads" -eq 1 ] && echo 0 || echo 0,1)")
    # Both twice, taking turns, so that a disturbance does not hit one of them alone.
    torch="" memory="" grpc=""
    for turn in 1 2; do
        torch+="$("${pin[@]}" /usr/bin/python3 "$script" "$threads")"$'\n'
        memory+="$("${pin[@]}" bash -c "$(declare -f ours); ours")"$'\n'
        grpc+="$("${pin[@]}" bash -c "$(declare -f ours); ours --grpc")"$'\n'
    done
    echo "$threads thread(s)"
    for word in best median; do
        t="$(figure $word <<< "$torch")" m="$(figure $word <<< "$memory")" g="$(figure $word <<< "$grpc")"
        awk -v w="$word" -v t="$t" -v m="$m" -v g="$g" 'BEGIN { printf "  %-6s  PyTorch %7d   FedLearn %7d (%.2f x)   over gRPC %7d (%.2f x) samples/s\n", w, t, m, m / t, g, g / t }'
    done
done
