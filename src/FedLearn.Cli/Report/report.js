// Draws the charts of a training report. The page holds the reports as JSON and a <figure data-chart> for each chart it has figures for.
"use strict";
(() => {
    const reports = JSON.parse(document.getElementById("reports").textContent);
    const figures = [...document.querySelectorAll("figure[data-chart]")];
    const colour = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
    const colours = 6;
    const series = index => colour("c" + (index % colours + 1));
    const finite = value => typeof value === "number" && Number.isFinite(value) ? value : null;
    const points = (xs, ys) => xs.map((x, i) => ({ x, y: finite(ys[i]) }));
    const short = text => text.length > 26 ? text.slice(0, 25) + "\u2026" : text;
    const figure = value => value === null ? "-" : Math.abs(value) >= 1e5 ? value.toExponential(3) : String(Number(value.toPrecision(5)));
    const tenths = value => Number(value.toFixed(1));
    const bytes = value => value < 1e4 ? value + " B" : value < 1e7 ? tenths(value / 1e3) + " kB" : tenths(value / 1e6) + " MB";

    const axis = (title, more) => ({
        title: { display: title !== "", text: title, color: colour("muted") }, ticks: { color: colour("muted"), maxTicksLimit: 7 },
        grid: { color: colour("line") }, border: { color: colour("line") }, ...more,
    });

    // Test rows stand in front, and are what a model is read by; training rows are beside them for comparison.
    const sets = (report, part) => [["test", "Test"], ["train", "Training"]].map(([key, label]) => ({ key, label, data: report.evaluation?.[key]?.[part] })).filter(s => s.data);
    const line = (set, data, more) => ({
        label: set.label, data, borderColor: colour(set.key === "test" ? "accent" : "second"), backgroundColor: colour(set.key === "test" ? "accent" : "second"),
        borderWidth: set.key === "test" ? 2 : 1.5, borderDash: set.key === "test" ? [] : [5, 4], pointRadius: 0, tension: 0, ...more,
    });
    const reference = (data, label) => ({ label, data, borderColor: colour("second"), borderWidth: 1, borderDash: [2, 3], pointRadius: 0 });

    // The library's legend draws every line whole; ours are told apart by their dashes.
    const dashed = chart => Chart.defaults.plugins.legend.labels.generateLabels(chart)
        .map(item => ({ ...item, lineDash: chart.data.datasets[item.datasetIndex].borderDash ?? [] }));
    // Lines over a numeric axis.
    const lines = (datasets, [xTitle, x], [yTitle, y]) => ({
        type: "line", data: { datasets },
        options: {
            scales: { x: axis(xTitle, { type: "linear", ...x }), y: axis(yTitle, y) }, interaction: { mode: "nearest", axis: "x", intersect: false },
            plugins: { legend: { labels: { usePointStyle: true, pointStyle: "line", pointStyleWidth: 26, generateLabels: dashed } } },
        },
    });
    // Bars that lie below each other.
    const bars = (labels, datasets, title, format, stacked) => ({
        type: "bar", data: { labels, datasets },
        options: {
            indexAxis: "y",
            scales: {
                x: axis(title, { stacked, beginAtZero: true, ticks: { color: colour("muted"), maxTicksLimit: 5, maxRotation: 0, callback: value => format(value) } }),
                y: axis("", { stacked, grid: { display: false }, ticks: { color: colour("ink"), callback: (_, i) => short(labels[i]) } }),
            },
            plugins: { tooltip: { callbacks: { label: item => `${item.dataset.label}: ${format(item.parsed.x)}` } } },
        },
    });
    // A mark for each label, and a line for the interval it lies in.
    const marks = (labels, values, intervals, others, title) => {
        const mark = (label, data, more) => ({ type: "line", showLine: false, label, data, pointRadius: 5, pointHoverRadius: 6, borderWidth: 2, ...more });
        const datasets = [mark(values.label, values.data, { borderColor: colour("accent"), backgroundColor: colour("accent"), order: 0 })];
        if (others.data.some(value => value !== null))
            datasets.push(mark(others.label, others.data, { borderColor: colour("c2"), backgroundColor: colour("surface"), pointStyle: "rectRot", order: 1 }));
        if (intervals.data.some(pair => pair !== null))
            datasets.push({ label: intervals.label, data: intervals.data, backgroundColor: colour("accent") + "66", barThickness: 4, borderRadius: 2, order: 2 });
        const chart = bars(labels, datasets, title, figure, false);
        chart.options.scales.x.beginAtZero = false;
        chart.options.scales.x.grace = "8%";
        chart.options.plugins.tooltip.callbacks.label = item => Array.isArray(item.raw) ? `${item.dataset.label}: ${item.raw.map(figure).join(" to ")}` : `${item.dataset.label}: ${figure(item.parsed.x)}`;
        return chart;
    };
    const rounds = (report, keys, title) => lines(keys.filter(k => report.history.some(h => finite(h[k.key]) !== null)).map(k => ({
        label: k.label, data: report.history.map(h => ({ x: h.round, y: finite(h[k.key]) })), borderColor: colour(k.colour), backgroundColor: colour(k.colour), borderWidth: 2,
        pointRadius: report.history.length > 40 ? 0 : 2.5, spanGaps: true, stepped: k.stepped ?? false,
    })), [report.job.model === "dssm" ? "epoch" : "round", { ticks: { precision: 0, color: colour("muted"), maxTicksLimit: 8 } }], [title, {}]);
    const shares = { min: 0, max: 1 };
    const setOf = report => report.metrics.test ? "test" : "train";

    const charts = {
        roc: report => lines([...sets(report, "roc").map(s => line(s, points(s.data.falsePositiveRate, s.data.truePositiveRate))), reference([{ x: 0, y: 0 }, { x: 1, y: 1 }], "Chance")],
            ["false positive rate", shares], ["true positive rate", shares]),
        precisionRecall: report => lines(sets(report, "precisionRecall").map(s => line(s, points(s.data.recall, s.data.precision))),
            ["recall", shares], ["precision", shares]),
        calibration: report => {
            const all = sets(report, "calibration"), values = all.flatMap(s => [...s.data.predicted, ...s.data.observed]).filter(v => finite(v) !== null);
            // Both axes cover the same range, so that the diagonal is one.
            const low = Math.min(0, ...values), high = Math.max(...values) * 1.05 || 1;
            return lines([...all.map(s => line(s, points(s.data.predicted, s.data.observed), { pointRadius: 3.5 })), reference([{ x: low, y: low }, { x: high, y: high }], "True predictions")],
                ["mean predicted", { min: low, max: high }], ["mean observed", { min: low, max: high }]);
        },
        lift: report => {
            const all = sets(report, "lift");
            return {
                type: "bar",
                data: {
                    labels: all[0].data.share.map(share => Math.round(100 * share) + "%"),
                    datasets: [...all.map(s => ({ label: s.label, data: s.data.lift.map(finite), backgroundColor: colour(s.key === "test" ? "accent" : "second"), maxBarThickness: 16 })),
                        { ...reference(all[0].data.share.map(() => 1), "Drawn at random"), type: "line" }],
                },
                options: { scales: { x: axis("share of rows, highest scores first", { grid: { display: false }, ticks: { color: colour("muted"), maxRotation: 0 } }), y: axis("lift", { beginAtZero: true }) } },
            };
        },
        loss: report => rounds(report, [{ key: "loss", label: "Training loss", colour: "accent" }, { key: "validation", label: "Validation", colour: "c2" }], "loss"),
        ndcg: report => rounds(report, [{ key: "validationNdcg10", label: "Validation NDCG@10", colour: "accent" }], "NDCG@10"),
        baselines: (report, place) => {
            const set = place.dataset.metric, all = [["Model", report.metrics[set], report.intervals?.[set]?.hr10Full],
                ...[["Popularity", "popularity"], ["ItemKNN", "itemKnn"], ["iALS", "ials"]].map(([label, key]) => [label, report.baselines[key]?.[set], null])];
            const chart = bars(all.map(a => a[0]), [{ label: "HR@10, all items", data: all.map(a => finite(a[1]?.hr10Full)), backgroundColor: all.map((_, i) => colour(i === 0 ? "accent" : "second")), maxBarThickness: 28 }],
                "HR@10, all items", figure, false);
            chart.options.plugins.legend = { display: false };
            return chart;
        },
        epsilon: report => rounds(report, [{ key: "epsilon", label: "Epsilon spent", colour: "accent", stepped: "before" }], "epsilon"),
        time: report => {
            const parties = report.parties.filter(p => p.timing);
            const parts = [["computeSeconds", "Computing", "c1"], ["waitSeconds", "Waiting", "second"], ["noiseSeconds", "Noise", "c2"]];
            return bars(parties.map(p => p.name), parts.map(([key, label, name]) => ({ label, data: parties.map(p => finite(p.timing[key])), backgroundColor: colour(name), maxBarThickness: 28 })),
                "seconds", figure, true);
        },
        bytes: report => {
            const parties = report.parties, names = [...new Set(parties.flatMap(p => p.releases.filter(r => finite(r.bytes) !== null).map(r => r.name)))];
            const sum = (party, some) => party.releases.filter(r => some.includes(r.name)).reduce((total, r) => total + (finite(r.bytes) ?? 0), 0);
            const all = name => parties.reduce((total, p) => total + sum(p, [name]), 0);
            // The split of the figures below, PartiesSection.Kinds: as many kinds as there are colours.
            const sorted = [...names].sort((a, b) => all(b) - all(a)), own = sorted.length > colours ? sorted.slice(0, colours - 1) : sorted;
            const kinds = [...own.map((name, i) => ({ label: name, names: [name], colour: series(i) })),
                ...own.length < sorted.length ? [{ label: `other (${sorted.length - own.length} kinds)`, names: sorted.slice(own.length), colour: colour("second") }] : []];
            const datasets = names.length > 0
                ? kinds.map(kind => ({ label: kind.label, data: parties.map(p => sum(p, kind.names)), backgroundColor: kind.colour, maxBarThickness: 28 }))
                : [["bytesSent", "Sent"], ["bytesReceived", "Received"]].map(([key, label], i) => ({ label, data: parties.map(p => finite(p[key])), backgroundColor: i === 0 ? colour("c1") : colour("second"), maxBarThickness: 20 }));
            return bars(parties.map(p => p.name), datasets, "", bytes, names.length > 0);
        },
        tuning: report => {
            const all = report.tuning.candidates, label = c => Object.entries(c.settings).map(([key, value]) => `${key.split(".").pop()} ${value}`).join(", ");
            return marks(all.map(label), { label: "Mean", data: all.map(c => finite(c.mean)) },
                { label: "One deviation", data: all.map(c => finite(c.mean) === null || finite(c.deviation) === null ? null : [c.mean - c.deviation, c.mean + c.deviation]) },
                { label: "", data: [] }, all[0].metric ?? "score");
        },
        compare: (_, place) => {
            const metric = place.dataset.metric, value = set => finite(set?.[metric]);
            return marks(reports.map(r => r.job.name), { label: "All parties", data: reports.map(r => value(r.metrics[setOf(r)])) },
                { label: "Interval", data: reports.map(r => r.intervals?.[setOf(r)]?.[metric] ?? null) },
                { label: "Active party alone", data: reports.map(r => value(r.metrics.guestOnly?.[setOf(r)])) }, "");
        },
        // Quality against epsilon: a line a private way, level lines for ways without epsilon, upright lines for intervals.
        "trade-off": (report, place) => {
            const metric = place.dataset.metric, set = report.quality.set, value = row => finite(row.metrics?.[set]?.[metric]);
            const rows = report.rows.filter(r => r.status === "ok" && value(r) !== null), epsilons = rows.map(r => finite(r.epsilon)).filter(e => e !== null);
            const low = Math.min(...epsilons) / 1.6, high = Math.max(...epsilons) * 1.6, names = [...new Set(rows.filter(r => finite(r.epsilon) !== null).map(r => r.series))];
            const datasets = [];
            names.forEach((name, i) => {
                // Series stand a little beside each other, so that no interval hides another.
                const own = rows.filter(r => r.series === name && finite(r.epsilon) !== null), at = r => r.epsilon * 1.035 ** (i - (names.length - 1) / 2);
                const look = { borderColor: series(i), backgroundColor: series(i), borderWidth: 2 };
                datasets.push({ label: name, data: own.map(r => ({ x: at(r), y: value(r), epsilon: r.epsilon })), pointRadius: 4, ...look });
                const intervals = own.flatMap(r => {
                    const [from, to] = r.intervals?.[set]?.[metric] ?? [];
                    return finite(from) === null || finite(to) === null ? [] : [{ x: at(r), y: from }, { x: at(r), y: to }, { x: at(r), y: null }];
                });
                if (intervals.length > 0)
                    datasets.push({ label: "", data: intervals, pointRadius: 0, pointHitRadius: 0, ...look, borderWidth: 3, borderColor: series(i) + "66" });
            });
            rows.filter(r => finite(r.epsilon) === null).forEach((r, i) => datasets.push({ ...reference([{ x: low, y: value(r) }, { x: high, y: value(r) }], r.series),
                borderColor: colour(["ink", "second", "c6"][i % 3]), borderWidth: 1.5, borderDash: [[6, 3], [2, 3], [8, 3, 2, 3]][i % 3] }));
            const chart = lines(datasets, ["epsilon", { type: "logarithmic", min: low, max: high, ticks: { color: colour("muted"), callback: v => epsilons.some(e => Math.abs(v / e - 1) < 1e-9) || [1, 2, 5].includes(Number(String(v.toExponential())[0])) ? figure(v) : "" } }],
                [place.querySelector("figcaption").firstChild.textContent.split(" against ")[0], { grace: "5%" }]);
            chart.options.plugins.legend.labels.filter = item => item.text !== "";
            chart.options.plugins.tooltip = { filter: item => item.dataset.label !== "", callbacks: { title: items => items[0]?.raw.epsilon ? `epsilon ${figure(items[0].raw.epsilon)}` : "", label: item => `${item.dataset.label}: ${figure(item.parsed.y)}` } };
            return chart;
        },
        // What a row costs relative to plain.
        cost: (report, place) => {
            const key = place.dataset.metric, rows = report.rows.filter(r => finite(r.relative?.[key]) > 0), values = rows.map(r => r.relative[key]);
            const wide = Math.max(...values) > 30 * Math.min(...values);
            const chart = bars(rows.map(r => finite(r.epsilon) === null ? r.series : `${r.series}, \u03b5 ${figure(r.epsilon)}`), [{ label: "x plain", data: values, backgroundColor: rows.map(r => colour(r.mode === "none" ? "second" : r.scheme ? "c2" : "accent")), maxBarThickness: 22 }], "x plain", figure, false);
            chart.options.plugins.legend = { display: false };
            if (wide)
                Object.assign(chart.options.scales.x, { type: "logarithmic", beginAtZero: false, min: 10 ** Math.floor(Math.log10(Math.min(...values) / 2)) });
            return chart;
        },
        "compare-roc": () => lines([...reports.map((r, i) => ({ curve: r.evaluation?.test?.roc, name: r.job.name, i })).filter(r => r.curve)
            .map(r => ({ label: short(r.name), data: points(r.curve.falsePositiveRate, r.curve.truePositiveRate), borderColor: series(r.i), backgroundColor: series(r.i), borderWidth: 2, pointRadius: 0 })),
        reference([{ x: 0, y: 0 }, { x: 1, y: 1 }], "Chance")], ["false positive rate", shares], ["true positive rate", shares]),
    };

    const draw = () => {
        Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
        Chart.defaults.font.size = 12;
        Chart.defaults.color = colour("ink");
        Chart.defaults.locale = "en";
        Chart.defaults.animation = false;
        Chart.defaults.maintainAspectRatio = false;
        Chart.defaults.plugins.legend.position = "bottom";
        Object.assign(Chart.defaults.plugins.legend.labels, { boxWidth: 14, boxHeight: 3, color: colour("muted") });
        for (const place of figures) {
            const canvas = place.querySelector("canvas"), rows = Number(place.dataset.rows ?? 0);
            Chart.getChart(canvas)?.destroy();
            if (rows > 0)
                canvas.parentElement.style.height = `${Math.max(9, 6.5 + 2.4 * rows)}rem`;
            try {
                new Chart(canvas, charts[place.dataset.chart](reports[Number(place.dataset.report)], place));
            } catch (error) {
                // One chart that cannot be drawn takes no other with it; its figures stand in its table.
                console.error(`chart ${place.dataset.chart}:`, error);
                place.classList.add("failed");
            }
        }
    };
    document.documentElement.classList.add("drawn");
    draw();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
