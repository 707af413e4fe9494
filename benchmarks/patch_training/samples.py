# SPDX-License-Identifier: Apache-2.0
"""Puts samples of patch_training_bench's arms side by side, with how good they are at their end.

    python3 samples.py PICTURE.png RESULTS.json FOLDER    (needs matplotlib; the folder of --pictures)
"""
import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

picture, results, folder = sys.argv[1], json.load(open(sys.argv[2])), pathlib.Path(sys.argv[3])
ends = {point["arm"]: point for point in results["points"]}  # the last point of each arm stays

figure, axes = pyplot.subplots(-(-len(ends) // 2), 2, figsize=(7.2, 1.75 * -(-len(ends) // 2)), dpi=110)
for axis in axes.flat:
    axis.axis("off")
for axis, (arm, end) in zip(axes.flat, ends.items()):
    samples = pyplot.imread(folder / f"{arm}.png")
    axis.imshow(samples, cmap="gray", interpolation="nearest")
    axis.set_title("%s: distance %.2f, correlation %.2f" % (arm, end["frechet_distance"], end["halves_correlation"]), fontsize=7.5)
figure.tight_layout()
figure.savefig(picture)
