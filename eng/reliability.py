#!/usr/bin/env python3
"""Makes docs/reliability.md from the output of tests, and from nothing else. Called by eng/test.sh and eng/reliability.sh.

Usage: eng/reliability.py RESULTS TIER PART...
  RESULTS  folder with the xUnit reports FedLearn.*.xml and with reliability.jsonl, one line a test that passed
  TIER     what was counted, such as "full" or "fast"; stands in the heading
  PART     "reliability": the table of tests/FedLearn.Reliability.Tests; "all": the sums of every test project
Each part replaces its own section of the page and leaves the other as it is.
"""
import datetime, json, pathlib, re, subprocess, sys
import xml.etree.ElementTree as xml

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "reliability.md"
TITLES = {"reliability": "Faults, kills, hostile input, load", "all": "Every test"}


def reports(results):
    for path in sorted(results.glob("FedLearn.*.xml")):
        yield path.stem, list(xml.parse(path).getroot().iter("assembly"))


def of_reliability(results):
    lines = (results / "reliability.jsonl").read_text().splitlines() if (results / "reliability.jsonl").exists() else []
    counted = {}
    for line in map(json.loads, lines):
        counted.setdefault(line["test"], []).append(line)
    yield "| test | cases | result | seconds |"
    yield "|---|---|---|---|"
    for name, assemblies in reports(results):
        if name != "FedLearn.Reliability.Tests":
            continue
        for test in sorted((t for a in assemblies for t in a.iter("test")), key=lambda t: (t.get("type"), t.get("name"))):
            method, kind = test.get("method"), test.get("type").rsplit(".", 1)[-1]
            words = re.sub(r"ReliabilityTests$", "", kind) + ": " + method.replace("_", " ")
            seconds = float(test.get("time"))
            if test.get("result") == "Skip":
                yield f"| {words} | 0 | skipped: {reason(test)} | |"
            elif test.get("result") != "Pass":
                yield f"| {words} | | **failed** | {seconds:.1f} |"
            elif method not in counted:
                yield f"| {words} | 1 | passed | {seconds:.1f} |"
            else:
                # The cases of one method have a line each, all of them where the first stands.
                for line in counted[method]:
                    yield f"| {words} | {line['cases']:,} {line['what']} | {line['result']} | {line['seconds']:.1f} |"
                counted[method] = []


def reason(test):
    found = test.find("reason")
    return " ".join((found.text or "").split()) if found is not None else ""


def of_all(results):
    yield "| tests | passed | failed | skipped |"
    yield "|---|---|---|---|"
    sums = [0, 0, 0]
    for name, assemblies in reports(results):
        row = [sum(int(a.get(key, 0)) for a in assemblies for key in keys) for keys in (["passed"], ["failed", "errors"], ["skipped", "not-run"])]
        sums = [a + b for a, b in zip(sums, row)]
        yield f"| {name} | {row[0]} | {row[1]} | {row[2]} |"
    yield f"| all | {sums[0]} | {sums[1]} | {sums[2]} |"


def section(part, tier, results):
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=PAGE.parent, capture_output=True, text=True).stdout.strip() or "unknown"
    cores = subprocess.run(["nproc"], capture_output=True, text=True).stdout.strip() or "unknown"
    rows = of_reliability(results) if part == "reliability" else of_all(results)
    head = f"Tier {tier}, {datetime.date.today()}, commit {commit}, {cores} cores."
    return "\n".join([f"## {TITLES[part]}", "", head, "", *rows])


def main():
    results, tier, parts = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    old = PAGE.read_text() if PAGE.exists() else ""
    texts = []
    for part, title in TITLES.items():
        kept = re.search(rf"^## {title}\n.*?(?=^## |\Z)", old, re.M | re.S)
        text = section(part, tier, results) if part in parts else kept.group(0).strip() if kept else ""
        if text:
            texts.append(text)
    intro = ("# Reliability\n\nMade by `eng/reliability.sh` (first table) and `eng/test.sh --full` (second) from the output of the tests; never written by hand.\n"
             "Seconds are those of the test on the machine of that run. A test without a count of its own is one case.")
    PAGE.write_text("\n\n".join([intro, *texts]) + "\n")


main()
