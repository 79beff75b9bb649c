#!/usr/bin/env python3
"""Test figures of a job by mode and epsilon, several runs each: sweep.csv, sweep.tex and, with matplotlib, sweep.pdf.

Usage: sweep.py JOB.json METRIC EPSILONS RUNS MODE ...     such as: sweep.py both-epsilon-10.json auc 0.5,1,3,10 10 hdp-vfl one-round

Every run has new ledgers, which nobody adds up: for public or made-up data alone. Otherwise labels that one-round has randomised are kept in the ledger
and used again, and the runs differ by less than by their noise. FEDLEARN in the environment names the tool, else it is ../../fedlearn beside this file."""
import copy, csv, json, os, pathlib, statistics, subprocess, sys, tempfile

if len(sys.argv) < 6:
    sys.exit(__doc__)
path, metric, epsilons, runs, modes = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3].split(","), int(sys.argv[4]), sys.argv[5:]
tool = os.environ.get("FEDLEARN", str(pathlib.Path(__file__).resolve().parents[2] / "fedlearn")).split()
base = json.loads("\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("//")))


def test_figure(mode, epsilon):
    """Trains once; the figure of the test rows, and the half width of its bootstrap interval."""
    with tempfile.TemporaryDirectory() as folder:
        job = copy.deepcopy(base)
        if mode == "none":
            job["privacy"], job["training"] = {"mode": "none"}, {}      # to the optimum
        else:
            job["privacy"] = {"delta": 1e-5, **job.get("privacy", {}), "mode": mode, "epsilon": float(epsilon)}
        for party in job["parties"]:
            party["ledger"] = {"path": f"{folder}/{party['name']}.ledger.db"}
        trial = path.with_name(f".sweep-{os.getpid()}.json")        # beside the job, whose paths are relative to it
        try:
            trial.write_text(json.dumps(job))
            subprocess.run([*tool, "train", "--config", str(trial), "--report", f"{folder}/report.json"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        finally:
            trial.unlink()
        report = json.loads(pathlib.Path(folder, "report.json").read_text())
        low, high = report["intervals"]["test"][metric]
        return report["metrics"]["test"][metric], (high - low) / 2


rows = []
for mode, epsilon in [("none", "")] + [(mode, epsilon) for mode in modes for epsilon in epsilons]:
    figures, widths = zip(*(test_figure(mode, epsilon) for _ in range(1 if mode == "none" else runs)))
    rows.append((mode, epsilon, statistics.mean(figures), statistics.stdev(figures) if len(figures) > 1 else 0, statistics.mean(widths), len(figures)))
    print(*rows[-1], flush=True)
with open("sweep.csv", "w", newline="") as file:
    csv.writer(file).writerows([("mode", "epsilon", metric, "deviation of runs", "half width of the 95 % interval of test rows", "runs"), *rows])
spread = [rf" \pm {sd:.4f}" if count > 1 else "" for _, _, _, sd, _, count in rows]
lines = [rf"{mode} & {epsilon or '--'} & ${mean:.4f}{plus}$ & $\pm {width:.4f}$ \\" for (mode, epsilon, mean, _, width, _), plus in zip(rows, spread)]
pathlib.Path("sweep.tex").write_text("\n".join([r"\begin{tabular}{llll}\hline", rf"mode & $\varepsilon$ & test {metric} & test rows, 95\,\% \\\hline", *lines, r"\hline\end{tabular}", ""]))
try:
    from matplotlib import pyplot as plot
except ImportError:
    sys.exit(0)
for mode in modes:
    own = [row for row in rows if row[0] == mode]
    plot.errorbar([float(row[1]) for row in own], [row[2] for row in own], [row[3] for row in own], marker="o", capsize=3, label=mode)
plot.axhline(rows[0][2], linestyle="--", color="grey", label="no privacy")
plot.xscale("log")
plot.xlabel("epsilon")
plot.ylabel(f"test {metric}")
plot.legend()
plot.savefig("sweep.pdf")
