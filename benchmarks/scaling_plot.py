#!/usr/bin/env python3
"""Draws the curves of a result of verb scaling: scaling_plot.py DATE-scaling.json writes DATE-scaling.svg beside it."""
import json
import math
import pathlib
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "fedlearn", "font.size": 8, "axes.titlesize": 8, "lines.markersize": 3.5, "lines.linewidth": 1})
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, NullFormatter  # noqa: E402

FIGURES = (("seconds", "seconds"), ("bytes", "bytes, all parties"), ("messages", "messages, all parties"), ("processorSeconds", "processor s, all parties"))
COLOURS = {"none": "tab:blue", "hdp-vfl": "tab:orange"}


def value(curve, point, figure):
    epochs = point["shape"]["epochs"]
    per = epochs if curve["perEpoch"] else 1
    if figure == "seconds":
        return point["median"] / per if point["median"] is not None else None
    if figure == "processorSeconds":
        cpu = point["cpuSecondsPerEpoch"]
        return None if cpu is None else cpu * (1 if curve["perEpoch"] else epochs)
    return point[figure] / per


def main():
    path = pathlib.Path(sys.argv[1])
    result = json.loads(path.read_text())
    axes = list(dict.fromkeys(curve["axis"] for curve in result["curves"]))
    picture, cells = plt.subplots(len(axes), len(FIGURES), figsize=(12, 2.3 * len(axes)), squeeze=False)
    for row, axis in zip(cells, axes):
        curves = [curve for curve in result["curves"] if curve["axis"] == axis]
        for cell, (figure, label) in zip(row, FIGURES):
            for curve in curves:
                points = [(p["x"], value(curve, p, figure)) for p in curve["points"]]
                points = [(x, y) for x, y in points if y]
                fit = curve["fits"].get(figure)
                name = curve["mode"]
                if fit:
                    error = fit["standardError"]
                    name += f", k {fit['exponent']:.2f}" + (f" ± {error:.2f}" if error is not None else "")
                    cell.plot([x for x, _ in points], [fit["factor"] * x ** fit["exponent"] for x, _ in points], color=COLOURS[curve["mode"]], alpha=0.6)
                cell.plot([x for x, _ in points], [y for _, y in points], "o", color=COLOURS[curve["mode"]], label=name)
                if figure == "seconds":
                    predicted = [(p["x"], p["predicted"]["total"] / (p["shape"]["epochs"] if curve["perEpoch"] else 1)) for p in curve["points"] if p["median"] is not None]
                    cell.plot([x for x, _ in predicted], [y for _, y in predicted], "_", color=COLOURS[curve["mode"]], markersize=9)
            cell.set(xscale="log", yscale="log", xlabel=axis, title=label + (", an epoch" if curves[0]["perEpoch"] else ", the job"))
            # The points themselves: a decade has no tick of its own between 2 and 4 parties.
            ticks = sorted({p["x"] for curve in curves for p in curve["points"]})
            cell.set_xticks(ticks)
            cell.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}" if x < 10000 else f"{x / 1000:.0f}k"))
            cell.xaxis.set_minor_formatter(NullFormatter())
            if not any(cell.get_ylim()[0] <= 10**k <= cell.get_ylim()[1] for k in range(-6, 12)):
                cell.set_ylim(bottom=10 ** math.floor(math.log10(cell.get_ylim()[0])))
            cell.yaxis.set_minor_formatter(NullFormatter())
            cell.legend(frameon=False, fontsize=6)
    picture.suptitle(f"{path.stem}: circles measured, lines fitted c x^k, dashes predicted", fontsize=9)
    picture.tight_layout(rect=(0, 0, 1, 0.985))
    picture.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    print(path.with_suffix(".svg"))


if __name__ == "__main__":
    main()
