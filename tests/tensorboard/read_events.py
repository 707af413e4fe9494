# SPDX-License-Identifier: Apache-2.0
# read_events.py FOLDER: what TensorBoard finds in the run that write_events made.
import io
import math
import sys

import numpy
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator

events = EventAccumulator(sys.argv[1], size_guidance={SCALARS: 0, IMAGES: 0}).Reload()
assert sorted(events.Tags()["scalars"]) == ["gradient/norm", "loss"], events.Tags()
assert sorted(events.Tags()["images"]) == ["grey", "samples"], events.Tags()

losses = events.Scalars("loss")
assert [event.step for event in losses] == [0, 1, 2, 3, 4, 5, 2**40], losses
assert [event.value for event in losses[:6]] == [1, 0.5, float(numpy.float32(1 / 3)), 100, 100, 100], losses
assert math.isnan(losses[6].value)
times = [event.wall_time for event in losses]
assert times[0] == 1.6e9 + 0.75 and times == sorted(times), times  # the name, the version, the first step
assert [event.step for event in events.Scalars("gradient/norm")] == [0, 1, 2], "steps from 3 on were to be forgotten"

[samples] = events.Images("samples")
assert (samples.step, samples.height, samples.width) == (6, 4, 5), samples
pixels = numpy.asarray(Image.open(io.BytesIO(samples.encoded_image_string)))
assert (pixels == 4 * numpy.arange(60).reshape(4, 5, 3)).all(), pixels
[grey] = events.Images("grey")
assert numpy.asarray(Image.open(io.BytesIO(grey.encoded_image_string))).tolist() == [[0, 255]]
print("TensorBoard reads the run")
