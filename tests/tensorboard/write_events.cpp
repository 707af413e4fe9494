// SPDX-License-Identifier: Apache-2.0
// write_events FOLDER: a run that stops after step 5 and goes on from step 3, for read_events.py.
#include <cstdint>
#include <filesystem>
#include <limits>
#include <vector>

#include <patchdiff/io/picture.hpp>
#include <patchdiff/io/tensorboard_log.hpp>

namespace pd = patchdiff;

int main(int count, char** arguments) {
  if (count != 2) return 2;
  const std::filesystem::path folder = arguments[1];
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  double now = 1.6e9;
  const auto log = [&](std::int64_t first_step) {
    return pd::TensorBoardLog(
        {.folder = folder, .host = "node", .wall_time = [&] { return now += 0.25; }, .first_step = first_step});
  };
  pd::TensorBoardLog first = log(0);
  for (std::int64_t step = 0; step < 6; ++step) {
    first.append(step, {{"loss", 1.0 / static_cast<double>(step + 1)}, {"gradient/norm", 1e3}});
  }
  pd::TensorBoardLog resumed = log(3);
  for (std::int64_t step = 3; step < 6; ++step) resumed.append(step, {{"loss", 100.0}});
  resumed.append(std::int64_t{1} << 40, {{"loss", std::numeric_limits<double>::quiet_NaN()}});
  std::vector<std::uint8_t> pixels;
  for (int i = 0; i < 3 * 4 * 5; ++i) pixels.push_back(static_cast<std::uint8_t>(4 * i));
  resumed.append(6, "samples", {{3, 4, 5}, pixels});
  resumed.append(6, "grey", {{1, 1, 2}, {0, 255}});
}
