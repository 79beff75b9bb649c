#!/usr/bin/python3
"""An epoch of vertically split logistic regression in PyTorch, for the verb glm-speed.

Reads one command a line from standard input, `TYPE MODE EPOCHS`, and answers with one line of seconds, one number an epoch.
TYPE is float64 or float32; MODE is full, minibatch (gradients written out) or autograd (minibatch, two nn.Linear under one loss).
Usage: glm.py ROWS COLUMNS_A_PARTY BATCH THREADS
"""
import sys
import time

import torch


class Problem:
    """Rows of two parties, labels, weights; one step is z = A w_A + B w_B, r = sigmoid(z) - y, w -= eta (X'r / b + l2 w)."""

    rate, l2 = 0.5, 1e-3

    def __init__(self, rows, columns, kind):
        generator = torch.Generator().manual_seed(1)
        self.parties = [torch.randn(rows, columns, generator=generator, dtype=torch.float32).to(kind) for _ in range(2)]
        logits = self.parties[0][:, 0] + self.parties[1][:, 0]
        self.labels = (torch.rand(rows, generator=generator) < torch.sigmoid(logits)).to(kind)
        self.weights = [torch.zeros(columns, dtype=kind) for _ in range(2)]
        self.layers = [torch.nn.Linear(columns, 1, bias=False).to(kind) for _ in range(2)]
        self.optimizer = torch.optim.SGD([p for layer in self.layers for p in layer.parameters()], lr=self.rate, weight_decay=self.l2)
        self.loss = torch.nn.BCEWithLogitsLoss()

    def step(self, start, end):
        blocks = [party[start:end] for party in self.parties]
        residuals = torch.sigmoid(blocks[0] @ self.weights[0] + blocks[1] @ self.weights[1]) - self.labels[start:end]
        for block, weights in zip(blocks, self.weights):
            weights.mul_(1 - self.rate * self.l2).sub_(block.t() @ residuals, alpha=self.rate / (end - start))

    def autograd_step(self, start, end):
        self.optimizer.zero_grad()
        scores = self.layers[0](self.parties[0][start:end]) + self.layers[1](self.parties[1][start:end])
        self.loss(scores.squeeze(1), self.labels[start:end]).backward()
        self.optimizer.step()

    def epoch(self, mode, batch):
        rows = len(self.labels)
        if mode == "full":
            batch = rows
        step = self.autograd_step if mode == "autograd" else self.step
        for start in range(0, rows, batch):
            step(start, min(start + batch, rows))


def main():
    rows, columns, batch, threads = (int(argument) for argument in sys.argv[1:5])
    torch.set_num_threads(threads)
    problems = {}
    for line in sys.stdin:
        kind, mode, epochs = line.split()
        if kind not in problems:
            problems.clear()
            problems[kind] = Problem(rows, columns, getattr(torch, kind))
            problems[kind].epoch(mode, batch)
        seconds = []
        for _ in range(int(epochs)):
            before = time.perf_counter()
            problems[kind].epoch(mode, batch)
            seconds.append(time.perf_counter() - before)
        print(*seconds, flush=True)


if __name__ == "__main__":
    main()
