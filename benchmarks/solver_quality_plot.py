# SPDX-License-Identifier: Apache-2.0
"""Draws what solver_quality_bench measured: python3 solver_quality_plot.py FIGURES.json PICTURE.png (needs matplotlib)."""
import json
import sys

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

figures = json.load(open(sys.argv[1]))
names = {"euler": "Euler", "heun": "Heun", "dpmpp_2m": "DPM-Solver++(2M)"}
pyplot.figure(figsize=(6.4, 4), dpi=110)
for solver, label in names.items():
    points = [(row["calls"], row["frechet_distance"]) for row in figures["results"] if row["solver"] == solver]
    pyplot.plot(*zip(*points), marker="o", label=label)
pyplot.yscale("log")
pyplot.xlabel("calls of the network for an image")
pyplot.ylabel("Fréchet distance of %d samples" % figures["samples"])
pyplot.xticks(sorted({row["calls"] for row in figures["results"]}))
pyplot.grid(True, which="both", alpha=0.3)
pyplot.legend()
pyplot.tight_layout()
pyplot.savefig(sys.argv[2])
