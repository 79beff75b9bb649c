#!/usr/bin/env python3
"""Writes the delivery-fleet tables of this folder: synthetic, the same in every run (standard library only).

Usage: python3 make.py
Claims of a van in a year are Poisson with mean exposure * exp(linear predictor of all three companies' columns), COEFFICIENTS below.
"""
import csv
import math
import pathlib
import random

ROWS = 5000
COEFFICIENTS = {"intercept": 0.95, "driver_age": -0.5, "urban": 0.4, "prior_claims": 0.5, "night_share": 0.9, "harsh_braking": 1.1, "mean_speed": 0.3,
                "van_age": 0.4, "power": 0.6, "brake_assist": -0.6}

folder = pathlib.Path(__file__).parent
draw = random.Random(20260)


def poisson(mean):
    count, product = 0, draw.random()
    while product > math.exp(-mean):
        count, product = count + 1, product * draw.random()
    return count


def write(name, header, rows):
    with open(folder / f"{name}.csv", "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(header)
        out.writerows(rows)


def scaled(value, low, high):
    return 2 * (value - low) / (high - low) - 1


insurer, telematics, registry = [], [], []
for number in range(ROWS):
    van = f"VAN{number:05d}"
    exposure = 1.0 if draw.random() < 0.6 else round(draw.uniform(0.1, 1), 2)   # years on risk
    age, urban, prior = round(min(70, max(18, draw.gauss(38, 11)))), int(draw.random() < 0.55), min(5, poisson(0.5))
    night, braking, speed = round(draw.betavariate(1.5, 5), 3), round(min(30, draw.gammavariate(2, 4)), 1), round(min(110, max(20, draw.gauss(52, 14))), 1)
    van_age, power, assist = round(min(20, draw.gammavariate(2, 3)), 1), round(min(180, max(50, draw.gauss(95, 25)))), int(draw.random() < 0.4)
    b = COEFFICIENTS
    z = (b["intercept"] + b["driver_age"] * scaled(age, 18, 70) + b["urban"] * urban + b["prior_claims"] * scaled(prior, 0, 5)
         + b["night_share"] * scaled(night, 0, 1) + b["harsh_braking"] * scaled(braking, 0, 30) + b["mean_speed"] * scaled(speed, 20, 110)
         + b["van_age"] * scaled(van_age, 0, 20) + b["power"] * scaled(power, 50, 180) + b["brake_assist"] * assist)
    insurer.append([van, poisson(exposure * math.exp(z)), exposure, age, urban, prior])
    if draw.random() > 0.03:
        telematics.append([van, night, braking, speed])
    if draw.random() > 0.01:
        registry.append([van, van_age, power, assist])

draw.shuffle(telematics)
draw.shuffle(registry)
write("insurer", ["id", "claims", "years", "driver_age", "urban", "prior_claims"], insurer)
write("telematics", ["id", "night_share", "harsh_braking", "mean_speed"], telematics)
write("registry", ["id", "van_age", "power", "brake_assist"], registry)
