#!/usr/bin/env python3
"""Makes docs/licences.md: every NuGet package of the lock files, with the licence that its own nuspec states. Usage: eng/licences.py

Run it after a change of packages and a restore. What is not a NuGet package stands in OTHERS below.
"""
import json, os, pathlib, sys
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("NUGET_PACKAGES", pathlib.Path.home() / ".nuget" / "packages"))
OTHERS = [
    ("libsodium 1.0.18 or newer", "ISC", "loaded where the machine has it; private set intersection"),
    ("libtorch 1.13 or newer", "BSD-3-Clause", "loaded where the machine has it; towers"),
    ("GMP 6 (libgmp.so.10)", "LGPL-3.0-or-later or GPL-2.0-or-later", "loaded where the machine has it, never linked into a package; Paillier"),
    ("node-seal 6.0.3, with Microsoft SEAL 4", "MIT", "installed by `eng/setup.sh he` with npm ci, never shipped; CKKS"),
    ("libsealc 4.4 or newer", "MIT", "loaded where the machine has it; CKKS"),
    ("Chart.js 4", "MIT", "embedded in the HTML report; its licence stands beside it in src/FedLearn.Cli/Report/vendor"),
    ("onnx.proto, wire-compatible with that of ONNX", "own text", "protos/onnx"),
    ("health.proto, wire-compatible with that of gRPC", "own text", "protos/grpc"),
]


def licence(name, version):
    nuspec = CACHE / name.lower() / version.lower() / f"{name.lower()}.nuspec"
    if not nuspec.exists():
        sys.exit(f"licences: {nuspec} is missing: run dotnet restore first")
    metadata = next(e for e in xml.parse(nuspec).getroot() if e.tag.endswith("metadata"))
    found = {e.tag.rsplit("}")[-1]: e for e in metadata}
    if "license" in found:
        kind, text = found["license"].get("type"), (found["license"].text or "").strip()
        return text if kind == "expression" else f"file `{text}` in the package"
    return (found["licenseUrl"].text or "").strip() if "licenseUrl" in found else "none stated"


def main():
    shipped, used = {}, {}
    for path in sorted(ROOT.glob("*/*/packages.lock.json")):
        part = path.relative_to(ROOT).parts[0]
        for framework in json.loads(path.read_text())["dependencies"].values():
            for name, entry in framework.items():
                if entry["type"] != "Project":
                    (shipped if part == "src" else used)[(name, entry["resolved"])] = True
    used = {k: v for k, v in used.items() if k not in shipped}
    lines = ["# Licences", "", "FedLearn is Apache-2.0. Made by `eng/licences.py` from the lock files and from what each package says of itself.", "",
             "## NuGet packages that the packages of FedLearn use", "", "| package | version | licence |", "|---|---|---|"]
    table = lambda packages: [f"| {n} | {v} | {licence(n, v)} |" for n, v in sorted(packages, key=lambda p: (p[0].lower(), p[1]))]
    lines += [*table(shipped), "", "## NuGet packages of tests, samples and benchmarks only", "", "| package | version | licence |", "|---|---|---|", *table(used), "",
              "## What is not a NuGet package", "", "| what | licence | where |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in OTHERS), "",
              "## Known vulnerabilities", "", "```", "dotnet list FedLearn.sln package --vulnerable --include-transitive", "```", "",
              "The answer is worth what the package source knows: **a source without audit data (a mirror, a folder) always answers that there are none.** Ask with `--source https://api.nuget.org/v3/index.json`,",
              "or look the versions above up in the GitHub advisory database. The restore of the tests does not ask (`NuGetAudit` is off), so that it gives the same answer everywhere.",
              "", "Restores are locked: `packages.lock.json` beside each project holds every version and the SHA-512 of its contents, and `eng/test.sh` restores with `--locked-mode`, which fails where anything differs."]
    (ROOT / "docs" / "licences.md").write_text("\n".join(lines) + "\n")


main()
