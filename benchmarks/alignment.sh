#!/usr/bin/env bash
# Private set intersection, measured: the parts, the whole protocol between two processes, OpenMined PSI beside it; written to benchmarks/results/DATE-alignment.{md,json}.
# Options are those of the verb: --ids, --engines, --repeats, --threads, --conserve-memory, --peer-ids, --peer-repeats, --out; or --check N [--seed S], which compares the engines bit for bit.
# Usage: benchmarks/alignment.sh [OPTIONS]   (needs libsodium: eng/setup.sh psi; OpenMined PSI needs Node.js and npm, is installed into build/openmined-psi and skipped without)
set -euo pipefail
cd "$(dirname "$0")/.."
peer="build/openmined-psi" version="2.0.6"
if [[ " $* " != *" --check "* ]] && command -v npm > /dev/null && ! grep -qs "\"version\": \"$version\"" "$peer/node_modules/@openmined/psi.js/package.json"; then
    mkdir -p "$peer"
    echo '{ "private": true }' > "$peer/package.json"
    npm install --prefix "$peer" --no-audit --no-fund --ignore-scripts --silent "@openmined/psi.js@$version" || echo "alignment: @openmined/psi.js cannot be installed; going on without it" >&2
fi
dotnet build benchmarks/FedLearn.Experiments -c Release --nologo -v quiet -clp:ErrorsOnly
exec dotnet benchmarks/FedLearn.Experiments/bin/Release/net10.0/FedLearn.Experiments.dll alignment "$@"
