#!/usr/bin/env bash
# Brings what a machine lacks. Usage: eng/setup.sh [glm|aggregation|towers|he|psi|test|all]   (default all)
# Idempotent, asks nothing. Without root, or off Debian, it says what to do instead.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "setup: $*" >&2; exit 1; }

glm() {
    wanted="$(sed -n 's/.*"version": *"\([0-9]*\)\..*/\1/p' global.json | head -n 1)"
    command -v dotnet > /dev/null || fail "the .NET SDK $wanted is missing: see https://dotnet.microsoft.com/download, or your distribution's package dotnet-sdk-$wanted.0"
    dotnet --version > /dev/null 2>&1 || fail "this machine's .NET SDK does not satisfy global.json: install version $wanted.0 or newer of $wanted"
    echo "setup: glm: .NET SDK $(dotnet --version)"
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

# The foreign party of the interop test, the browser that the HTML report is tested in, and a checker of exported models; tests that miss them skip and say so.
tests() { packages test python3-grpcio python3-numpy python3-onnx python3-protobuf protobuf-compiler protobuf-compiler-grpc chromium fonts-dejavu-core; }

# Key agreement of secure aggregation and of masked sums.
aggregation() { packages aggregation libsodium23; }

for part in "${@:-all}"; do
    case "$part" in
        glm) glm ;;
        aggregation) aggregation ;;
        test) tests ;;
        towers | he | psi) echo "setup: $part: nothing is needed yet" ;;
        all) glm; aggregation; tests ;;
        *) fail "unknown part '$part'; use glm, aggregation, towers, he, psi, test or all" ;;
    esac
done
