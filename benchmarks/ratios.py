#!/usr/bin/env python3
"""Compares the ratios that the quick benchmarks printed with the committed ones.

usage: ratios.py MEASURED [--committed FILE] [--machine NAME] [--update] [--only VERB ...]

MEASURED is what the verbs printed; lines of another form are passed over:

    ratio NAME VALUE <= BAR        smaller is better; BAR may be -
    ratio NAME VALUE >= BAR        larger is better
    skip NAME REASON

Ratios are committed by processor: PyTorch, caches and vectors differ between them, and so do the ratios. On a processor without any, each ratio is compared with the weakest of the others'.

Exit code 1 when a ratio has lost more than its tolerance, or a committed one was neither measured nor skipped; 2 when a line is malformed.
--update writes the measured ratios as the committed ones of this processor, and keeps those that were skipped. --only compares the ratios of some verbs: the part of a name before its first dot.
"""
import argparse
import json
import math
import pathlib
import re
import sys

TOLERANCE = 0.25


def processor(cpuinfo=pathlib.Path("/proc/cpuinfo")):
    """The processor and the widest vectors that it has; "unknown" where the system does not tell."""
    try:
        facts = dict(re.findall(r"^(model name|flags)\s*: (.*)$", cpuinfo.read_text(), re.MULTILINE))
    except OSError:
        facts = {}
    flags = facts.get("flags", "").split()
    vectors = [", " + name for name, flag in (("AVX-512", "avx512f"), ("AVX2", "avx2")) if flag in flags]
    return facts.get("model name", "unknown").strip() + "".join(vectors[:1])


def weakest(machines):
    """Of each ratio the committed value that is the easiest to reach."""
    entries = {}
    for machine in machines.values():
        for name, known in machine.items():
            if name not in entries or loss(known["value"], entries[name]["value"], known["better"]) > 0:
                entries[name] = known
    return entries


def parse(lines):
    """Ratios by name, and reasons of skipped ones by name."""
    measured, skipped = {}, {}
    for line in lines:
        words = line.split()
        if words[:1] == ["skip"] and len(words) > 1:
            skipped[words[1]] = " ".join(words[2:])
        elif words[:1] == ["ratio"]:
            try:
                _, name, value, better, bar = words
                entry = {"value": float(value), "better": {"<=": "lower", ">=": "higher"}[better], "bar": None if bar == "-" else float(bar)}
                if not (math.isfinite(entry["value"]) and entry["value"] > 0) or name in measured:
                    raise ValueError
            except (ValueError, KeyError):
                print(f"ratios: no ratio, or one measured twice: {line.rstrip()}", file=sys.stderr)
                sys.exit(2)
            measured[name] = entry
    return measured, skipped


def loss(value, committed, better):
    """The part that was lost: .3 of a ratio of 1 where smaller is better is 1.3; where larger is better it is .7."""
    return value / committed - 1 if better == "lower" else 1 - value / committed


def compare(measured, skipped, committed):
    """Rows of the table, and whether all is well."""
    rows, well = [], True
    for name in sorted(measured.keys() | committed.keys() | skipped.keys()):
        entry, known = measured.get(name), committed.get(name)
        if entry is None:
            verdict = "skipped: " + skipped[name] if name in skipped else "MISSING"
            well = well and name in skipped
            rows.append((name, "-", number(known and known["value"]), "-", "-", verdict))
            continue
        holds = entry["bar"] is None or (entry["value"] <= entry["bar"] if entry["better"] == "lower" else entry["value"] >= entry["bar"])
        bar = "-" if entry["bar"] is None else ("<= " if entry["better"] == "lower" else ">= ") + number(entry["bar"])
        verdict, lost = "new", "-"
        if known is not None:
            part = loss(entry["value"], known["value"], entry["better"])
            lost = f"{100 * part:+.0f} %"
            verdict = "LOST" if part > known.get("tolerance", TOLERANCE) else "ok"
            well = well and verdict == "ok"
        rows.append((name, number(entry["value"]), number(known and known["value"]), lost, bar, verdict + ("" if holds else ", bar missed")))
    return rows, well


def number(value):
    return "-" if value is None else f"{value:.4g}"


def main():
    parser = argparse.ArgumentParser(description="Compares measured ratios with the committed ones.")
    parser.add_argument("measured", type=pathlib.Path)
    parser.add_argument("--committed", type=pathlib.Path, default=pathlib.Path(__file__).with_name("ratios.json"))
    parser.add_argument("--machine", default=processor(), help="the processor whose ratios are compared or written; default this machine's")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--only", nargs="+")
    arguments = parser.parse_args()
    measured, skipped = parse(arguments.measured.read_text().splitlines())
    machines = json.loads(arguments.committed.read_text()) if arguments.committed.exists() else {}
    own = machines.get(arguments.machine)
    everything = weakest(machines) if own is None and not arguments.update else own or {}
    if own is None and machines and not arguments.update:
        print(f"no ratios of this processor ({arguments.machine}) are committed: each is compared with the weakest of {len(machines)} others'; --update adds its own")
    committed = {name: entry for name, entry in everything.items() if arguments.only is None or name.split(".")[0] in arguments.only}
    rows, well = compare(measured, skipped, committed)
    header = ("ratio", "now", "committed", "loss", "bar", "")
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    if arguments.update:
        kept = {name: entry for name, entry in everything.items() if name in skipped or name not in committed}
        fresh = {name: {**entry, "tolerance": committed.get(name, {}).get("tolerance", TOLERANCE)} for name, entry in measured.items()}
        machines[arguments.machine] = dict(sorted({**kept, **fresh}.items()))
        arguments.committed.write_text(json.dumps(dict(sorted(machines.items())), indent=2) + "\n")
        print(f"{len(fresh)} ratios of {arguments.machine} committed to {arguments.committed}")
        return 0
    print("no ratio lost more than its tolerance" if well else "a ratio was lost")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
