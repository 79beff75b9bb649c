#!/usr/bin/env bash
# The tables of results: data sets by epsilon by mode, written to benchmarks/results/DATE-tables.{md,json}. Options are those of the verb: --data-sets, --epsilons, --draws, --out.
# Usage: benchmarks/tables.sh [OPTIONS]   (data: FEDLEARN_DATA, or ../shared/data beside the repository; the rows he and he+dp need eng/setup.sh he, and are skipped without)
set -euo pipefail
cd "$(dirname "$0")/.."
dotnet build benchmarks/FedLearn.Experiments -c Release --nologo -v quiet -clp:ErrorsOnly
exec dotnet benchmarks/FedLearn.Experiments/bin/Release/net10.0/FedLearn.Experiments.dll tables "$@"
