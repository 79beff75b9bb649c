#!/usr/bin/env bash
# Runs every test. Usage: eng/test.sh [--full] [--filter TEXT] [--bench]
#   --full         the counts the claims name instead of the scaled ones; writes docs/reliability.md
#   --filter TEXT  only tests whose full name contains TEXT (and no other check)
#   --bench        after the tests the quick benchmarks, under 5 minutes: a ratio that lost more than its tolerance against benchmarks/ratios.json fails
# The last line is "N passed, N failed, N skipped"; the exit code is 1 when anything failed.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit ;; esac
cd "$(dirname "$0")/.."

full=0 filter="" bench=0
while [ $# -gt 0 ]; do
    case "$1" in
        --full) full=1 ;;
        --bench) bench=1 ;;
        --filter) [ $# -ge 2 ] || { echo "test: --filter needs a text" >&2; exit 2; }; filter="$2"; shift ;;
        *) echo "test: unknown option '$1'; use --full, --filter TEXT or --bench" >&2; exit 2 ;;
    esac
    shift
done
[ "$full" -eq 0 ] || export FEDLEARN_FULL=1

eng/setup.sh all
# What the lock files say, or nothing.
dotnet restore FedLearn.sln --locked-mode -v quiet

# Compilers and tests run most of their code a few times only: counting calls to compile once more by the counts takes a fifth more processor time than it saves, and compiling again what
# was called 30 times 2 to 11 hundredths more than what was called 8,192 (hexadecimal here).
export DOTNET_TieredPGO=0 DOTNET_TC_CallCountThreshold=2000
# The tool compiles everything in full at once, for jobs of minutes; its processes here use a second or so of processor time each, most of it for starting. The full run has it as it is delivered.
[ "$full" -eq 1 ] || export DOTNET_TC_QuickJit=1

# One compiler for all projects, which ends with the build. Where the environment forbids one that stays (UseSharedCompilation=false), each project would start its own, and the
# code of the analyzers be compiled thirty times.
compiler="fedlearn-$$" server="$(dotnet --info | sed -n 's/^ *Base Path: *//p')/Roslyn/bincore/VBCSCompiler.dll"
end_compiler() { [ ! -e "$server" ] || dotnet "$server" "-pipename:$compiler" -shutdown > /dev/null 2>&1 || true; }
trap end_compiler EXIT
dotnet build FedLearn.sln -c Release --no-restore --nologo -v quiet -clp:ErrorsOnly -p:UseSharedCompilation=true -p:SharedCompilationId="$compiler"
end_compiler
trap - EXIT

# A shell that runs this in the background has it ignore Ctrl-C, and the tests of Ctrl-C would skip.
fresh=()
if env --default-signal=INT true 2> /dev/null; then fresh=(env --default-signal=INT); fi

results="build/test-results"
rm -rf "$results"
mkdir -p "$results"
export FEDLEARN_RELIABILITY="$PWD/$results/reliability.jsonl"
passed=0 failed=0 skipped=0

# count NAME PASSED FAILED SKIPPED: adds one line of results, with the seconds it took where they are known.
count() {
    passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
    printf '%-32s %6d passed %4d failed %4d skipped %5s\n' "$1" "$2" "$3" "$4" "$(cat "$results/$1.seconds" 2> /dev/null || true)"
}

# attribute FILE NAME: sum of an attribute over the <assembly> elements of an xUnit report.
attribute() { grep -o '<assembly [^>]*>' "$1" | grep -o " $2=\"[0-9]*\"" | tr -dc '0-9\n' | awk '{ n += $1 } END { print n + 0 }'; }

# run NAME COMMAND...: runs a check, its output in a log, its exit code beside it, at most as many at a time as there are slots.
slots=2
run() {
    local name="$1"
    shift
    while [ "$(jobs -rp | wc -l)" -ge "$slots" ]; do wait -n || true; done
    { start=$SECONDS code=0; "$@" > "$results/$name.log" 2>&1 || code=$?; echo "$code" > "$results/$name.code"; echo "$((SECONDS - start)) s" > "$results/$name.seconds"; } &
}

# The longest begin first, so that no slot stays empty at the end. They are told of in the order of their names.
projects=(tests/FedLearn.*/)
names=()
for project in "${projects[@]}"; do names+=("$(basename "$project")"); done
for name in FedLearn.{Cli,Reliability}.Tests FedLearn.Tests FedLearn.{Alignment,Baselines,Browser,Towers,Rules}.Tests "${names[@]}"; do
    [ -d "tests/$name" ] && [ ! -e "$results/$name.started" ] || continue
    touch "$results/$name.started"
    arguments=(-xml "$results/$name.xml" -noLogo -noColor)
    [ -z "$filter" ] || arguments+=(-method "*$filter*")
    run "$name" "${fresh[@]}" dotnet "tests/$name/bin/Release/net10.0/$name.dll" "${arguments[@]}"
done
# White space alone: rules of style and names are errors of the build, and the order of usings is a test.
[ -n "$filter" ] || run format dotnet format whitespace --folder . --verify-no-changes
wait

for name in "${names[@]}"; do
    report="$results/$name.xml" code="$(cat "$results/$name.code" 2> /dev/null || echo 1)"
    if [ ! -s "$report" ]; then
        # The executable ended before it could report: that is a failure, whatever its exit code.
        cat "$results/$name.log"
        count "$name" 0 1 0
        continue
    fi
    bad=$(($(attribute "$report" failed) + $(attribute "$report" errors)))
    [ "$code" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
    grep -E '\[SKIP\]|\[FAIL\]' "$results/$name.log" || true
    [ "$bad" -eq 0 ] || cat "$results/$name.log"
    count "$name" "$(attribute "$report" passed)" "$bad" "$(($(attribute "$report" skipped) + $(attribute "$report" not-run)))"
done

if [ -z "$filter" ]; then
    if [ "$(cat "$results/format.code" 2> /dev/null)" = 0 ]; then
        count "dotnet format" 1 0 0
    else
        cat "$results/format.log"
        count "dotnet format" 0 1 0
    fi
fi

if [ "$bench" -eq 1 ]; then
    if env -u DOTNET_TieredPGO -u DOTNET_TC_CallCountThreshold -u DOTNET_TC_QuickJit benchmarks/run.sh --quick; then count "benchmarks" 1 0 0; else count "benchmarks" 0 1 0; fi
fi

if [ "$full" -eq 1 ] && [ -z "$filter" ]; then
    python3 eng/reliability.py "$results" full all reliability
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
