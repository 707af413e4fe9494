# SPDX-License-Identifier: Apache-2.0
"""Draws what patch_training_bench measured, and says when each arm is as good as full images at their end.

    python3 plot.py PICTURE.png RESULTS.json...    (needs matplotlib; results of several seeds of the same arms)
"""
import collections
import json
import statistics
import sys

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

runs = [json.load(open(path)) for path in sys.argv[2:]]
curves = collections.defaultdict(lambda: collections.defaultdict(list))  # arm, minutes: distances of all seeds
for run in runs:
    for point in run["points"]:
        curves[point["arm"]][round(point["minutes"], 1)].append(point["frechet_distance"])

pyplot.figure(figsize=(7.2, 4.4), dpi=110)
for arm, by_minutes in curves.items():
    seeds = max(map(len, by_minutes.values()))
    minutes = sorted(at for at in by_minutes if len(by_minutes[at]) == seeds)  # medians of fewer seeds would jump
    distances = [by_minutes[at] for at in minutes]
    (line,) = pyplot.plot(minutes, [statistics.median(d) for d in distances], marker="o", markersize=3, label=arm)
    pyplot.fill_between(minutes, [min(d) for d in distances], [max(d) for d in distances], color=line.get_color(), alpha=0.2)
pyplot.axhline(runs[0]["real_frechet_distance"], color="gray", linestyle=":", label="real images")
pyplot.yscale("log")
pyplot.xlabel("minutes of training: processor time divided by threads")
pyplot.ylabel("Fréchet distance of %d samples" % runs[0]["samples"])
pyplot.grid(True, which="both", alpha=0.3)
pyplot.legend(fontsize=8)
pyplot.tight_layout()
pyplot.savefig(sys.argv[1])

full = curves.get("full")
for arm, by_minutes in curves.items():
    last = max(by_minutes)
    ends = by_minutes[last]
    text = "%-28s %5.1f min: %s" % (arm, last, " ".join("%.2f" % d for d in sorted(ends)))
    if full and arm != "full":
        goal = statistics.median(full[max(full)])
        reached = [at for at in sorted(by_minutes) if statistics.median(by_minutes[at]) <= goal]
        text += ", as good as full images after " + ("%.1f min" % reached[0] if reached else "more")
    print(text)
