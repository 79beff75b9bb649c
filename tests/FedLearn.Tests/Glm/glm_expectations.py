#!/usr/bin/env python3
"""Writes glm-expectations.json: optima of penalised GLMs by scikit-learn, whose objectives are mean loss + l2/2 |w|^2 with a free intercept, as ours.

Usage: python3 glm_expectations.py   (needs python3-sklearn 1.2 or later; the tests need the file alone)
"""
import json
import pathlib

import numpy
import sklearn
from sklearn.linear_model import GammaRegressor, LogisticRegression, PoissonRegressor, TweedieRegressor

L2 = 0.02
random = numpy.random.default_rng(20240)
x = numpy.round(random.uniform(-1, 1, (60, 4)), 3)
eta = 0.3 + x @ numpy.array([0.8, -0.5, 0.3, 0.0])
weights = numpy.round(random.uniform(0, 3, 60), 2)
amounts = numpy.round(random.gamma(2, numpy.exp(eta) / 2), 3) + 0.01
some = numpy.round(numpy.where(random.uniform(size=60) < 0.4, 0, amounts), 3)
counts = random.poisson(numpy.exp(eta)).astype(float)
classes = numpy.argmax(numpy.stack([eta, -eta, 0.2 + x[:, 3]]) + random.gumbel(size=(3, 60)), axis=0).astype(float)

cases = []


def case(family, y, power=None):
    for w in (None, weights):
        settings = dict(alpha=L2, tol=1e-12, max_iter=1000, solver="newton-cholesky")
        if family == "multinomial":
            total = 60 if w is None else w.sum()
            model = LogisticRegression(C=1 / (L2 * total), tol=1e-8, max_iter=1000, multi_class="multinomial", solver="newton-cg")
        else:
            model = {"gamma": lambda: GammaRegressor(**settings), "poisson": lambda: PoissonRegressor(**settings),
                     "tweedie": lambda: TweedieRegressor(power=power, link="log", **settings)}[family]()
        model.fit(x, y, sample_weight=w)
        cases.append({"family": family, "power": power, "weighted": w is not None, "labels": y.tolist(),
                      "weights": numpy.ravel(model.coef_).tolist(), "intercepts": numpy.ravel(model.intercept_).tolist()})


case("poisson", counts)
case("gamma", amounts)
for p in (1.1, 1.5, 1.9):
    case("tweedie", some, p)
case("multinomial", classes)
path = pathlib.Path(__file__).with_name("glm-expectations.json")
path.write_text(json.dumps({"source": f"scikit-learn {sklearn.__version__}", "l2": L2, "rows": x.tolist(), "rowWeights": weights.tolist(), "cases": cases}, indent=None).replace('{"family"', '\n{"family"') + "\n")
