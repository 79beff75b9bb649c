#!/usr/bin/env bash
# Refreshes the libraries of others that the HTML report carries, src/FedLearn.Cli/Report/vendor, from the npm registry. Builds read the committed
# files and need neither Node nor a network.
# Usage: eng/vendor.sh [--check]   --check changes nothing: it fails when a committed file is not the published one
# A new version: change version and integrity below (npm view chart.js@VERSION dist.integrity), run this, then the browser tests.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit ;; esac
cd "$(dirname "$0")/.."

fail() { echo "vendor: $*" >&2; exit 1; }

check=0
case "${1:-}" in
    "") ;;
    --check) check=1 ;;
    *) echo "vendor: unknown option '$1'; use --check" >&2; exit 2 ;;
esac
for tool in npm openssl tar; do
    command -v "$tool" > /dev/null || fail "$tool is missing; install it (only this script needs it)"
done
target="src/FedLearn.Cli/Report/vendor"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

# vendor PACKAGE VERSION INTEGRITY FROM=TO...: files of a package, FROM its path in the package and TO its name in the folder.
vendor() {
    local package="$1" version="$2" integrity="$3" archive found file
    shift 3
    archive="$scratch/$(cd "$scratch" && npm pack --silent --ignore-scripts "$package@$version")"
    found="sha512-$(openssl dgst -sha512 -binary "$archive" | openssl base64 -A)"
    [ "$found" = "$integrity" ] || fail "$package $version is not the pinned one: expected $integrity, got $found"
    tar -xzf "$archive" -C "$scratch"
    for file in "$@"; do
        if [ "$check" -eq 0 ]; then
            install -m 644 -D "$scratch/package/${file%%=*}" "$target/${file#*=}"
        else
            cmp -s "$scratch/package/${file%%=*}" "$target/${file#*=}" || fail "$target/${file#*=} is not the file of $package $version; run eng/vendor.sh"
        fi
    done
    rm -rf "$scratch/package"
    echo "vendor: $package $version"
}

vendor chart.js 4.6.1 sha512-hJyniucsFmq//EvXYvJ6c6mahPoI3kaxdjVH8awTaJ/fDNWeSqqqArixMJWkWNN6fcYvPU3HneSANFNYtRi61g== \
    dist/chart.umd.min.js=chart.umd.min.js LICENSE.md=chart.LICENSE.md
