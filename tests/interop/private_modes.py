"""What the private modes add to passive_party.py: vectors of noisy integers, and the fit of one-round (docs/protocol.md, docs/proofs/one-round.md).

The noise comes from numpy with a fixed seed: it shows what crosses the wire, and protects nobody."""
import numpy as np


def arguments(parser):
    parser.add_argument("--mode", choices=("none", "hdp-vfl", "one-round"), default="none")
    parser.add_argument("--reshuffle", action="store_true")
    parser.add_argument("--weight-norm", type=float, default=np.inf)
    parser.add_argument("--residual-clip", type=float, default=np.inf)
    parser.add_argument("--normalize", action="store_true", help="rows of length 1, as preprocessing.rows says")
    parser.add_argument("--sigma", type=float, help="deviation of the noise on scores")
    parser.add_argument("--epsilon", type=float, help="one-round: what the labels were randomised with")
    parser.add_argument("--label-rate", type=float, help="one-round: privacy.oneRound.labelRate")


def bounded(args, rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True) if args.normalize else rows


def to_lattice(values, bound, sigma):
    """Values with noise of 2^24 lattice steps a deviation, rounded to 64, in the fewest bits for the bound and 12 deviations: fields of a Vector."""
    fine, step = sigma / 2**24, sigma / 64
    limit = round(bound / step) + 12 * 64
    bits = limit.bit_length() + 1
    noise = np.rint(np.random.default_rng(7).normal(0, 2**24, len(values)))
    integers = np.clip(np.rint((np.rint(np.clip(values, -bound, bound) / fine) + noise) * (fine / step)), -limit, limit)
    packed = sum((int(integer) & ((1 << bits) - 1)) << (i * bits) for i, integer in enumerate(integers))
    return {"step": step, "bits": bits, "length": len(integers), "data": packed.to_bytes((len(integers) * bits + 7) // 8, "little")}


def from_lattice(vector):
    packed, half = int.from_bytes(vector.data, "little"), 1 << (vector.bits - 1)
    assert len(vector.data) == (vector.length * vector.bits + 7) // 8 and packed >> (vector.length * vector.bits) == 0
    integers = [(packed >> (i * vector.bits)) & (2 * half - 1) for i in range(vector.length)]
    return vector.step * np.array([integer - 2 * half if integer >= half else integer for integer in integers], dtype=float)


def one_round(args, exchange, x):
    """docs/proofs/one-round.md, binomial: a clipped ridge regression of the debiased labels, by Newton's method with halved steps."""
    n, score_clip, slope_clip, alpha, rate = len(x), 2.0, 4.0, 1.0, args.label_rate
    labels = np.frombuffer(exchange.receive(0, "randomized_labels"), dtype=np.uint8)
    assert len(labels) == n and set(labels) <= {0, 1}
    flip = 1 / (1 + np.exp(args.epsilon))
    scale = 0.75 * rate * (1 - rate)
    bound = max((1 - flip) / (1 - 2 * flip) - rate, flip / (1 - 2 * flip) + rate) / scale
    targets = ((labels - flip) / (1 - 2 * flip) - rate) / scale
    penalty = max(((slope_clip + bound) / (alpha * score_clip)) ** 2 / n,
                  (flip * (1 - flip) / (1 - 2 * flip) ** 2 + 0.15) / (2 * scale**2 * n))

    def objective(w):
        z = np.abs(x @ w)
        return np.mean(np.where(z <= slope_clip, z**2 / 2, slope_clip * (z - slope_clip / 2)) - targets * (x @ w)) + penalty / 2 * w @ w

    weights = np.zeros(x.shape[1])
    for _ in range(100):
        z = x @ weights
        gradient = x.T @ (np.clip(z, -slope_clip, slope_clip) - targets) / n + penalty * weights
        if np.linalg.norm(gradient) < 1e-12:
            break
        direction = np.linalg.solve(x[np.abs(z) < slope_clip].T @ x[np.abs(z) < slope_clip] / n + penalty * np.eye(len(weights)), -gradient)
        length = 1.0
        while length > 1e-10 and objective(weights + length * direction) > objective(weights) + 1e-4 * length * gradient @ direction:
            length /= 2
        weights = weights + length * direction
    exchange.send_vector(0, np.clip(x @ weights, -score_clip, score_clip), (score_clip, args.sigma))
    return weights, 1
