"""Writes inference-expectations.json: coefficients, standard errors, z and p-values of statsmodels' GLM on generated rows.

Usage: python3 statsmodels_reference.py > inference-expectations.json     (Debian: python3-statsmodels)
The rows come from a linear congruential generator that the test repeats in C#; columns are scaled to mean 0 and population deviation 1.
"""
import json

import numpy as np
import statsmodels
import statsmodels.api as sm

MASK = (1 << 64) - 1


class Generator:
    def __init__(self, seed):
        self.state = seed

    def uniform(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & MASK
        return (self.state >> 11) / float(1 << 53)


def case(name, seed, rows, columns, family, weights=False, exposure=False):
    draw = Generator(seed)
    x = np.empty((rows, columns))
    for i in range(rows):
        common = draw.uniform()
        for j in range(columns):
            x[i, j] = draw.uniform() + 0.5 * common
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    y, u, e = np.empty(rows), np.ones(rows), np.ones(rows)
    for i in range(rows):
        z = 0.3 + 0.4 * x[i, 0] - 0.3 * x[i, columns - 1]
        e[i] = 0.5 + draw.uniform() if exposure else 1
        u[i] = 0.5 + draw.uniform() if weights else 1
        noise = draw.uniform()
        if name == "binomial":
            y[i] = 1 if noise < 1 / (1 + np.exp(-z)) else 0
        elif name == "gaussian":
            y[i] = z + 2 * noise - 1
        elif name == "poisson":
            y[i] = np.floor(2 * noise * np.exp(z) * e[i])
        else:
            y[i] = np.exp(z) * (0.2 + 1.6 * noise) if name == "gamma" or noise > 0.3 else 0
    u /= u.mean()
    fit = sm.GLM(y, sm.add_constant(x, prepend=False), family=family, offset=np.log(e), var_weights=u).fit(tol=1e-14, maxiter=200)
    return {"family": name, "seed": seed, "rows": rows, "columns": columns, "weights": weights, "exposure": exposure, "scale": float(fit.scale),
            "params": fit.params.tolist(), "errors": fit.bse.tolist(), "z": fit.tvalues.tolist(), "p": fit.pvalues.tolist()}


log = sm.families.links.log()
print(json.dumps({
    "software": f"statsmodels {statsmodels.__version__}",
    "cases": [
        case("binomial", 1, 569, 30, sm.families.Binomial()),
        case("gaussian", 2, 300, 7, sm.families.Gaussian()),
        case("poisson", 3, 400, 6, sm.families.Poisson(), exposure=True),
        case("gamma", 4, 400, 5, sm.families.Gamma(log), weights=True),
        case("tweedie", 5, 500, 5, sm.families.Tweedie(log, var_power=1.5)),
    ],
}, indent=1))
