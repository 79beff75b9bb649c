"""What the optimisers accelerated, lbfgs and irls of mode none add to passive_party.py (docs/protocol.md, Other modes). Each fits from weights of zero and returns
the weights and the number of the last round."""
import numpy as np


def arguments(parser):
    parser.add_argument("--optimizer", choices=("sgd", *FITS), default="sgd")
    parser.add_argument("--l1", type=float, default=0.0)
    parser.add_argument("--inference", action="store_true", help="evaluation.inference")


def accelerated(args, exchange, x):
    pb, number, weights, point, kind = exchange.pb, 0, np.zeros(x.shape[1]), np.zeros(x.shape[1]), 1
    while kind == 1 and number < args.epochs:
        gradient = x.T @ exchange.receive_vector(number, "residuals") / len(x) + args.l2 * point
        size, kind = exchange.receive_scalars(number, pb.STEP)
        while kind == 0:
            trial = point - size * gradient
            trial = np.sign(trial) * np.maximum(np.abs(trial) - size * args.l1, 0)
            exchange.send_vector(number, x @ trial)
            exchange.send_scalars(number, pb.INNER_PRODUCTS, [np.sum((trial - point) ** 2), (point - trial) @ (trial - weights), trial @ trial, np.sum(np.abs(trial))])
            size, kind = exchange.receive_scalars(number, pb.STEP)
        if kind != 3:
            weights, point, number = trial, trial + size * (trial - weights), number + 1
    return weights, number


def lbfgs(args, exchange, x):
    pb, number, weights, steps, changes, before = exchange.pb, 0, np.zeros(x.shape[1]), [], [], None
    while True:
        gradient = x.T @ exchange.receive_vector(number, "residuals") / len(x) + args.l2 * weights
        if before is not None:
            steps, changes = (steps + [weights - before[0]])[-10:], (changes + [gradient - before[1]])[-10:]
        basis = np.array(steps + changes + [gradient])
        exchange.send_scalars(number, pb.INNER_PRODUCTS, (basis @ basis.T)[np.triu_indices(len(basis))])
        coefficients = exchange.receive_scalars(number, pb.DIRECTION)
        if len(coefficients) == 0 or number == args.epochs:
            return weights, number
        direction = coefficients @ basis
        exchange.send_vector(number, x @ direction)
        exchange.send_scalars(number, pb.INNER_PRODUCTS, [weights @ weights, weights @ direction, direction @ direction])
        size, = exchange.receive_scalars(number, pb.STEP)
        if size == 0:
            return weights, number
        before, weights, number = (weights, gradient), weights + size * direction, number + 1


def irls(args, exchange, x):
    exchange.mixing = send_mixed(args, exchange, x, 0)
    weights = exchange.mixing @ exchange.receive_scalars(0, exchange.pb.DIRECTION)
    return weights, int(exchange.receive_scalars(0, exchange.pb.STEP)[0])


def send_mixed(args, exchange, x, number):
    """Sends X T, and returns T: a rotation where there is a penalty, else a whitening and a rotation. (Its numbers have a fixed seed here, and hide nothing.)"""
    (n, d), pb = x.shape, exchange.pb
    exchange.send_scalars(number, pb.INNER_PRODUCTS, [d])
    assert list(exchange.receive_scalars(number, pb.STEP)) == [0], "too many columns"
    _, lengths, basis = np.linalg.svd(x, full_matrices=False)
    count = min(d, n) if args.l2 > 0 else np.sum(lengths > 1e-9 * lengths[0])
    basis = basis[:count].T if args.l2 > 0 else basis[:count].T / lengths[:count] * np.sqrt(n)
    mixing = basis @ np.linalg.qr(np.random.default_rng(7).normal(size=(count, count)))[0]
    exchange.send_scalars(number, pb.INNER_PRODUCTS, [count])
    for column in mixing.T:
        exchange.send_vector(number, x @ column)
    return mixing


def standard_errors(args, exchange, x, number):
    if not args.inference:
        return []
    mixing = exchange.mixing if args.optimizer == "irls" else send_mixed(args, exchange, x, number)
    answer = exchange.receive_scalars(number, exchange.pb.DIRECTION)
    if len(answer) == 1:
        return []  # there are none, and the model stays
    covariance = answer[2:].reshape(mixing.shape[1], -1)
    return np.sqrt(np.diag(mixing @ covariance @ mixing.T))


FITS = {"accelerated": accelerated, "irls": irls, "lbfgs": lbfgs}
