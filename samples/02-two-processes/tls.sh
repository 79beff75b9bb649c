#!/usr/bin/env bash
# A session as between two companies: each party in a process of its own, with a key of its own, over mutual TLS; each knows the other by its pin.
# Usage: samples/02-two-processes/tls.sh [PORT]   (default 5301; from any folder)
# Keys, party files, ledgers and reports are made in a temporary folder, which is deleted at the end. FEDLEARN names another command than ./fedlearn.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit ;; esac

port="${1:-5301}"
here="$(cd "$(dirname "$0")" && pwd)"
fedlearn="${FEDLEARN:-$here/../../fedlearn}"
work="$(mktemp -d)"
trap 'kill "${insurer:-}" 2>/dev/null || true; rm -rf "$work"' EXIT

# 1. Each company makes a key. What is printed as "pin" is for the other one; the key file never leaves its machine.
$fedlearn keys new --party insurer --out "$work" --json > "$work/insurer.keys.json"
$fedlearn keys new --party clinic --out "$work" --json > "$work/clinic.keys.json"

# 2. The pins are exchanged, and compared by telephone.
pin() { sed -n 's/^ *"pin": "\(sha256:[0-9a-f]*\)".*/\1/p' "$1" | head -n 1; }
insurer_pin="$(pin "$work/insurer.keys.json")" clinic_pin="$(pin "$work/clinic.keys.json")"

# 3. Each writes the other's pin into its own party file.
cat > "$work/insurer.party.json" <<JSON
{
  "job": "$here/both-plain.json",
  "party": "insurer",
  "listen": "https://127.0.0.1:$port",
  "tls": { "certificate": "insurer.crt.pem", "key": "insurer.key.pem", "peers": { "clinic": "$clinic_pin" } },
  "ledger": { "path": "insurer.ledger.db" }
}
JSON
cat > "$work/clinic.party.json" <<JSON
{
  "job": "$here/both-plain.json",
  "party": "clinic",
  "peers": { "insurer": "https://127.0.0.1:$port" },
  "tls": { "certificate": "clinic.crt.pem", "key": "clinic.key.pem", "peers": { "insurer": "$insurer_pin" } },
  "ledger": { "path": "clinic.ledger.db" }
}
JSON

# 4. Both start, in any order.
$fedlearn party --config "$work/insurer.party.json" --report "$work/insurer.json" &
insurer=$!
$fedlearn party --config "$work/clinic.party.json" --report "$work/clinic.json"
wait "$insurer"
insurer=""

# 5. Each report says how the messages travelled, and by what the other was known.
for party in insurer clinic; do
    echo "$party:"
    grep -A 14 '"transport": {' "$work/$party.json"
done
