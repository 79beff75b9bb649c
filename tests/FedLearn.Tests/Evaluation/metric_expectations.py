#!/usr/bin/env python3
"""Writes metric-expectations.json beside itself: random rows and their figures by scikit-learn, which shares no code with this repository.

Needs scikit-learn (python3-sklearn; 1.2.1 wrote the committed file). Deterministic.
"""
import json
import os
import numpy as np
import sklearn
from sklearn import metrics as m

random = np.random.default_rng(20261123)


def binary(name, rows, shift, digits, threshold):
    labels = (random.random(rows) < 1 / (1 + np.exp(-shift))).astype(int)
    scores = np.round(labels * 1.2 + shift + random.normal(size=rows) * 1.5, digits)
    probabilities = 1 / (1 + np.exp(-scores))
    predicted = (probabilities > threshold).astype(int)
    fpr, tpr, _ = m.roc_curve(labels, scores, drop_intermediate=False)
    precision, recall, _ = m.precision_recall_curve(labels, scores)
    share = labels.mean()
    return {
        "name": name, "threshold": threshold, "scores": list(scores), "labels": labels.tolist(),
        "metrics": {
            "auc": m.roc_auc_score(labels, scores), "accuracy": m.accuracy_score(labels, predicted), "logLoss": m.log_loss(labels, probabilities),
            "ks": float(np.max(tpr - fpr)), "prAuc": m.average_precision_score(labels, scores), "brier": m.brier_score_loss(labels, probabilities),
            "precision": m.precision_score(labels, predicted), "recall": m.recall_score(labels, predicted), "f1": m.f1_score(labels, predicted),
            "deviance": 2 * m.log_loss(labels, probabilities),
            "d2": 1 - m.log_loss(labels, probabilities) / m.log_loss(labels, np.full(rows, share)),
        },
        "roc": {"falsePositiveRate": fpr.tolist(), "truePositiveRate": tpr.tolist()},
        # scikit-learn ends at recall 0 with precision 1 by convention, which is left out
        "precisionRecall": {"recall": recall[:-1][::-1].tolist(), "precision": precision[:-1][::-1].tolist()},
        "confusion": m.confusion_matrix(labels, predicted).tolist(),
    }


def classes(name, rows, count, digits):
    labels = random.integers(count, size=rows)
    z = random.normal(size=(count, rows)) + 1.5 * (labels == np.arange(count)[:, None])
    z = np.round(z, digits)
    p = np.exp(z) / np.exp(z).sum(axis=0)
    predicted = p.argmax(axis=0)
    average = {"average": "macro", "zero_division": 0}
    shares = np.bincount(labels, minlength=count) / rows
    loss = m.log_loss(labels, p.T, labels=range(count))
    one_hot = (labels == np.arange(count)[:, None]).astype(float)
    per_class = zip(*(f(labels, predicted, average=None, zero_division=0) for f in (m.precision_score, m.recall_score, m.f1_score)))
    return {
        "name": name, "classes": count, "probabilities": p.ravel().tolist(), "labels": labels.tolist(),
        "metrics": {
            "auc": m.roc_auc_score(labels, p.T, multi_class="ovr", average="macro"), "accuracy": m.accuracy_score(labels, predicted),
            "logLoss": loss, "brier": float(((p - one_hot) ** 2).sum(axis=0).mean()),
            "precision": m.precision_score(labels, predicted, **average), "recall": m.recall_score(labels, predicted, **average),
            "f1": m.f1_score(labels, predicted, **average), "deviance": 2 * loss, "d2": 1 - loss / -(shares * np.log(shares)).sum(),
        },
        "confusion": m.confusion_matrix(labels, predicted).tolist(),
        "perClass": [{"precision": a, "recall": b, "f1": c, "auc": m.roc_auc_score(labels == k, p[k])} for k, (a, b, c) in enumerate(per_class)],
    }


def regression(name, rows, power):
    means = np.exp(random.normal(size=rows))
    labels = {0: lambda: means + random.normal(size=rows), 1: lambda: random.poisson(means).astype(float),
              2: lambda: random.gamma(2, means / 2), 1.5: lambda: random.poisson(means) * random.gamma(2, .5, size=rows)}[power]()
    return {
        "name": name, "power": power, "means": means.tolist(), "labels": labels.tolist(),
        "metrics": {
            "rmse": m.mean_squared_error(labels, means, squared=False), "mae": m.mean_absolute_error(labels, means), "r2": m.r2_score(labels, means),
            "deviance": m.mean_tweedie_deviance(labels, means, power=power), "d2": m.d2_tweedie_score(labels, means, power=power),
        },
    }


document = {
    "scikit-learn": sklearn.__version__,
    "binary": [binary("ties", 60, 0.0, 0, 0.5), binary("few positives", 150, -2.0, 6, 0.2), binary("three values", 40, 1.0, -1, 0.7)],
    "classes": [classes("three", 60, 3, 6), classes("five with ties", 80, 5, 0)],
    "regression": [regression("gaussian", 40, 0), regression("poisson", 40, 1), regression("tweedie", 40, 1.5), regression("gamma", 40, 2)],
}
with open(os.path.join(os.path.dirname(__file__), "metric-expectations.json"), "w") as file:
    json.dump(document, file, indent=None, separators=(",", ":"))
    file.write("\n")
