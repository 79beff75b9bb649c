#!/usr/bin/env bash
# Brings what a machine lacks. Usage: eng/setup.sh [glm|aggregation|towers|he|psi|test|all]   (default all)
# Idempotent, asks nothing. Without root, or off Debian, it says what to do instead.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit ;; esac
cd "$(dirname "$0")/.."

fail() { echo "setup: $*" >&2; exit 1; }

glm() {
    wanted="$(sed -n 's/.*"version": *"\([0-9]*\)\..*/\1/p' global.json | head -n 1)"
    command -v dotnet > /dev/null || fail "the .NET SDK $wanted is missing: see https://dotnet.microsoft.com/download, or your distribution's package dotnet-sdk-$wanted.0"
    dotnet --version > /dev/null 2>&1 || fail "this machine's .NET SDK does not satisfy global.json: install version $wanted.0 or newer of $wanted"
    echo "setup: glm: .NET SDK $(dotnet --version)"
    psi
}

# packages NAME PACKAGE...: installs the Debian packages that are missing.
packages() {
    local part="$1" missing=() package
    shift
    if ! command -v dpkg-query > /dev/null; then
        echo "setup: $part: this is no Debian; install what matches: $*"
        return
    fi
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        echo "setup: $part: nothing is missing"
    elif [ "$(id -u)" -eq 0 ]; then
        echo "setup: $part: installing ${missing[*]}"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
    else
        echo "setup: $part: missing ${missing[*]}; run: sudo apt-get install ${missing[*]}"
    fi
}

# The foreign party of the interop test, the browser that the HTML report is tested in, a checker of exported models,
# and network namespaces; tests that miss them skip and say so.
tests() { packages test iproute2 python3-grpcio python3-cryptography python3-torch python3-numpy python3-onnx python3-protobuf protobuf-compiler protobuf-compiler-grpc chromium fonts-dejavu-core; }

# libtorch, and the shim over it in build/native. CMAKE_PREFIX_PATH finds a libtorch elsewhere (a zip's folder, or pip's: python3 -c 'import torch; print(torch.utils.cmake_prefix_path)').
towers() {
    local log="build/native/build.log"
    if [ -n "${CMAKE_PREFIX_PATH:-}" ]; then
        packages towers cmake g++
    else
        packages towers cmake g++ libtorch-dev libgloo-dev libopenblas0-pthread
    fi
    if ! command -v cmake > /dev/null || ! command -v c++ > /dev/null; then
        echo "setup: towers: without cmake and a C++ compiler there are no towers; everything else works"
        return
    fi
    mkdir -p build/native
    if cmake -S src/FedLearn.Towers.LibTorch/native -B build/native -DCMAKE_BUILD_TYPE=Release > "$log" 2>&1 && cmake --build build/native --parallel "$(getconf _NPROCESSORS_ONLN)" >> "$log" 2>&1; then
        echo "setup: towers: built in build/native"
    else
        tail -n 20 "$log" >&2
        fail "towers: the shim cannot be built (all of it: $log); is libtorch installed, or CMAKE_PREFIX_PATH set?"
    fi
}

# The group of private set intersection, which every job between processes finds its common rows with.
psi() { packages psi libsodium23; }

# Key agreement of secure aggregation and of masked sums.
aggregation() { packages aggregation libsodium23; }

# The homomorphic baseline: GMP for Paillier, and SEAL on Node.js, by npm into build/seal-worker.
he() {
    local from="src/FedLearn.Baselines.HomomorphicEncryption/Seal/worker" to="build/seal-worker" wanted found
    packages he libgmp10
    # Node.js from elsewhere brings npm along and clashes with Debian's package of it.
    if ! command -v node > /dev/null; then
        packages he nodejs npm
    fi
    if ! command -v node > /dev/null || ! command -v npm > /dev/null; then
        echo "setup: he: without Node.js 20 and npm there is no CKKS on node-seal; see https://nodejs.org/download"
        return
    fi
    if [ "$(node -p 'Number(process.versions.node.split(".")[0])')" -lt 18 ]; then
        echo "setup: he: Node.js $(node --version) is too old for node-seal; install version 20, see https://nodejs.org/download"
        return
    fi
    wanted="$(node -p 'require("./'"$from"'/package-lock.json").packages["node_modules/node-seal"].version')"
    found="$(node -p 'require("./'"$to"'/node_modules/node-seal/package.json").version' 2> /dev/null || true)"
    if [ "$found" = "$wanted" ]; then
        echo "setup: he: node-seal $found is in $to"
        return
    fi
    mkdir -p "$to"
    cp "$from/package.json" "$from/package-lock.json" "$to"
    if npm ci --prefix "$to" --ignore-scripts --no-audit --no-fund > "$to/install.log" 2>&1; then
        echo "setup: he: node-seal $wanted installed in $to"
    else
        tail -n 20 "$to/install.log" >&2
        fail "he: npm cannot install node-seal $wanted (all of it: $to/install.log)"
    fi
}

for part in "${@:-all}"; do
    case "$part" in
        glm) glm ;;
        aggregation) aggregation ;;
        test) tests ;;
        towers) towers ;;
        he) he ;;
        psi) psi ;;
        # Without towers and the homomorphic baseline everything else works.
        all) glm; aggregation; (towers) || echo "setup: towers: left out"; (he) || echo "setup: he: left out"; tests ;;
        *) fail "unknown part '$part'; use glm, aggregation, towers, he, psi, test or all" ;;
    esac
done
