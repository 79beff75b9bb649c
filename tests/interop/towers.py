"""What the two peers of recommendation share: the public draws of docs/protocol.md, and towers of dense layers with tanh.

Parameters of a tower are one vector: of each layer its matrix, a row for each input, then its bias."""
import numpy as np

MASK, GOLDEN = (1 << 64) - 1, 0x9E3779B97F4A7C15
ORDER, NEGATIVES, DROPOUT = 1, 2, 3


def mix(z):
    z = ((z & MASK) ^ ((z & MASK) >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


class Draws:
    """SplitMix64, a stream for every purpose and three numbers."""

    def __init__(self, purpose, seed, first, second=0):
        self.state = mix(mix(mix(seed + GOLDEN * purpose) + GOLDEN + first) + GOLDEN + second)

    def next(self):
        self.state += GOLDEN
        return mix(self.state)

    def fraction(self):
        return (self.next() >> 11) / 2**53

    def below(self, bound):
        while True:
            product = self.next() * bound
            if product & MASK >= (1 << 64) % bound:
                return product >> 64


def order(count, seed, epoch):
    draws, result = Draws(ORDER, seed, epoch), []
    for i in range(count):
        j = draws.below(i + 1)
        result.append(result[j] if j < i else i)
        result[j] = i
    return result


def keeps(seed, epoch, sample, rate, view, views):
    """Whether view dropout leaves a sample its view."""
    draws = Draws(DROPOUT, seed, epoch, sample)
    numbers = [draws.fraction() for _ in range(views)]
    return rate == 0 or numbers[view] >= rate or (max(numbers) < rate and numbers.index(max(numbers)) == view)


class Tower:
    def __init__(self, inputs, layers, parameters):
        self.widths, self.parameters, self.steps = [inputs, *layers], np.array(parameters, dtype=float), 0
        assert len(self.parameters) == sum((a + 1) * b for a, b in zip(self.widths, self.widths[1:]))
        self.first, self.second = np.zeros_like(self.parameters), np.zeros_like(self.parameters)

    def layers(self):
        at = 0
        for inputs, outputs in zip(self.widths, self.widths[1:]):
            yield self.parameters[at:at + inputs * outputs].reshape(inputs, outputs), self.parameters[at + inputs * outputs:at + (inputs + 1) * outputs]
            at += (inputs + 1) * outputs

    def forward(self, rows):
        """Vectors of rows; what the gradient needs is kept."""
        self.kept = [rows]
        for matrix, bias in self.layers():
            self.kept.append(np.tanh(self.kept[-1] @ matrix + bias))
        return self.kept[-1]

    def gradient(self, upstream):
        parts = []
        for (matrix, _), below, output in reversed(list(zip(self.layers(), self.kept, self.kept[1:]))):
            delta = upstream * (1 - output**2)
            parts = [(below.T @ delta).ravel(), delta.sum(axis=0), *parts]
            upstream = delta @ matrix.T
        return np.concatenate(parts)

    def step(self, gradient, optimizer, rate):
        self.steps += 1
        if optimizer == "adam":
            self.first = 0.9 * self.first + 0.1 * gradient
            self.second = 0.999 * self.second + 0.001 * gradient**2
            gradient = self.first / (1 - 0.9**self.steps) / (np.sqrt(self.second / (1 - 0.999**self.steps)) + 1e-8)
        self.parameters = self.parameters - rate * gradient
