#!/usr/bin/env python3
"""Draws eng/icon.png, the icon of the packages: two parties' columns of one table, meeting at the rows they share.

Usage: eng/icon.py     (Python 3 alone; the same bytes every time)
"""
import os
import struct
import zlib

SIZE, FINE = 128, 4  # pixels, and samples a pixel in each direction

INK, PAPER = (24, 49, 83), (255, 255, 255)
LEFT, RIGHT, MEET = (92, 173, 255), (255, 176, 59), (255, 255, 255)

# Rectangles (left, top, right, bottom, corner radius, colour), the last one drawn wins.
SHAPES = [(0, 0, 128, 128, 26, INK)]
for row in range(3):
    top = 26 + 28 * row
    for column in range(2):
        SHAPES.append((18 + 22 * column, top, 36 + 22 * column, top + 20, 5, LEFT))
        SHAPES.append((70 + 22 * column, top, 88 + 22 * column, top + 20, 5, RIGHT))
    SHAPES.append((53, top + 7, 75, top + 13, 3, MEET))


def inside(shape, x, y):
    left, top, right, bottom, radius, _ = shape
    if not (left <= x < right and top <= y < bottom):
        return False
    dx = max(left + radius - x, x - (right - radius), 0)
    dy = max(top + radius - y, y - (bottom - radius), 0)
    return dx * dx + dy * dy <= radius * radius


def pixel(column, row):
    total, covered = [0, 0, 0], 0
    for i in range(FINE * FINE):
        x, y = column + (i % FINE + 0.5) / FINE, row + (i // FINE + 0.5) / FINE
        for shape in reversed(SHAPES):
            if inside(shape, x, y):
                covered += 1
                total = [a + b for a, b in zip(total, shape[5])]
                break
    if covered == 0:
        return bytes((*PAPER, 0))
    return bytes((*(round(t / covered) for t in total), round(255 * covered / FINE**2)))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


rows = b"".join(b"\0" + b"".join(pixel(x, y) for x in range(SIZE)) for y in range(SIZE))
png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", SIZE, SIZE, 8, 6, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "icon.png"), "wb") as file:
    file.write(png)
