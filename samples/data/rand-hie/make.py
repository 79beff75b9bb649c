"""Makes the two parties' files of this folder from the RAND Health Insurance Experiment table.

    /usr/bin/python3 samples/data/rand-hie/make.py

Needs Debian's python3-statsmodels, which ships the table (20,190 rows, public domain); nothing else. Every run writes the same bytes.
"""
import csv
import hashlib
import importlib.util
import json
import pathlib
import random

HERE = pathlib.Path(__file__).parent
ONE_SIDED = 0.03                                    # share of rows that only the insurer has, and that only the clinic has
INSURER = {"lncoins": (0, 4.7), "idp": (0, 1), "lpi": (0, 8), "fmde": (0, 9)}
CLINIC = {"physlm": (0, 1), "disea": (0, 30), "hlthg": (0, 1), "hlthf": (0, 1), "hlthp": (0, 1)}


def compact(text):
    """At most 4 decimals, no trailing zeros: 13.73189 -> 13.7319, 1.0 -> 1."""
    return f"{round(float(text), 4):.4f}".rstrip("0").rstrip(".")


def write(name, header, rows):
    with open(HERE / name, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def write_schema(name, ranges, label=None):
    fields = ",\n".join("    " + json.dumps({"name": field, "type": "numeric", "min": low, "max": high}) for field, (low, high) in ranges.items())
    head = '  "id": "id",\n' + (f'  "label": "{label}",\n' if label else "")
    (HERE / name).write_text("{\n" + head + '  "fields": [\n' + fields + "\n  ]\n}\n", encoding="utf-8")


def main():
    package = importlib.util.find_spec("statsmodels").submodule_search_locations[0]
    with open(pathlib.Path(package, "datasets", "randhie", "randhie.csv"), encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    generator = random.Random(20090203)
    numbers = generator.sample(range(1, 1_000_000), len(table))
    people = [(f"p{number:06d}", row) for number, row in zip(numbers, table)]

    generator.shuffle(people)
    aside = round(ONE_SIDED * len(people))
    insurer, clinic = people[aside:], people[:-aside]                   # the first are the clinic's alone, the last the insurer's
    common = sorted(name for name, _ in people[aside:-aside])
    generator.shuffle(insurer)
    generator.shuffle(clinic)

    write("insurer.csv", ["id", "y", *INSURER],
          [[name, int(float(row["mdvis"]) >= 5), *(compact(row[field]) for field in INSURER)] for name, row in insurer])
    write("clinic.csv", ["id", *CLINIC], [[name, *(compact(row[field]) for field in CLINIC)] for name, row in clinic])
    write("split.csv", ["id", "split"],
          [[name, "test" if int(hashlib.sha256(name.encode()).hexdigest(), 16) % 5 == 0 else "train"] for name in common])
    write_schema("insurer.schema.json", INSURER, label="y")
    write_schema("clinic.schema.json", CLINIC)


if __name__ == "__main__":
    main()
