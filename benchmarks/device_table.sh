#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every figure that a device's owner wants, as one table of Markdown: training steps and samplers by type, components beside
# their limits.
#
#   benchmarks/device_table.sh DEVICE [FOLDER OF PROGRAMS [MORE OPTIONS OF TRAIN_STEP_BENCH AND SAMPLE_BENCH]]
#
# DEVICE as LibTorch names it: cuda, cuda:1, cpu. The programs are in build/torch-cuda/benchmarks (cmake --preset
# torch-cuda). Figures lie beside them in device_table/ as JSON.
set -euo pipefail
device=${1:?"usage: $0 DEVICE [FOLDER OF PROGRAMS [OPTIONS...]]"}
programs=${2:-"$(dirname "${BASH_SOURCE[0]}")/../build/torch-cuda/benchmarks"}
shift $(($# < 2 ? $# : 2))
folder="$programs/device_table"
mkdir -p "$folder"

case "$device" in cpu) types=(float32 bfloat16) ;; *) types=(float32 tf32 bfloat16 float16) ;; esac
for type in "${types[@]}"; do
  # What LibTorch and NVIDIA's libraries read: float32 in full, or its products by TF32.
  export NVIDIA_TF32_OVERRIDE=0 TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=0 dtype=$type
  if [ "$type" = tf32 ]; then
    unset NVIDIA_TF32_OVERRIDE
    export TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1 dtype=float32
  fi
  echo "$type: train_step_bench, sample_bench" >&2
  "$programs/train_step_bench" --device "$device" --dtype "$dtype" "$@" --json "$folder/train_$type.json" >&2
  "$programs/sample_bench" --device "$device" --dtype "$dtype" "$@" --json "$folder/sample_$type.json" >&2
done
"$programs/component_bench" --device "$device" --repeats 20 --json "$folder/component.json" >&2

python3 - "$folder" "${types[@]}" <<'PYTHON'
import json
import pathlib
import sys

folder, types = pathlib.Path(sys.argv[1]), sys.argv[2:]
read = lambda name: json.loads((folder / f"{name}.json").read_text())
print("| type | patch | images/s | as fast as plain float32 | beyond the raw network | products alone |\n|---|---|---|---|---|---|")
for kind in types:
    for row in read(f"train_{kind}")["results"]:
        print(f"| {kind} | {row['patch']} | {row['images_per_second']:.0f} | {row['gain_over_plain']:.2f} times "
              f"| {row['overhead_percent']:+.1f} % | {100 * row['products_share']:.0f} % of the step |")
print("\n| type | sampler | images/s | beyond the network |\n|---|---|---|---|")
for kind in types:
    for side in read(f"sample_{kind}")["results"]:
        for row in side["samplers"]:
            print(f"| {kind} | {row['sampler']}, {side['side']} | {row['images_per_second']:.1f} | {row['beyond_percent']:.1f} % |")
print("\n| component | time | of its limit's |\n|---|---|---|")
for row in read("component")["results"]:
    print(f"| {row['component']} | {1e3 * row['time']['median_ms']:.0f} us | {row['ratio']['median']:.2f} |")
PYTHON
