// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/data/dataset_statistics.hpp>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <patchdiff/data/array_dataset.hpp>
#include <patchdiff/data/idx_dataset.hpp>
#include <patchdiff/data/mapped_array.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

namespace patchdiff {
namespace {

TEST_CASE("DatasetStatistics of a few values are those worked out by hand") {
  DatasetStatistics statistics(2);
  statistics.add(std::vector<float>{1, 3, 10, 10});
  statistics.add(std::vector<float>{5, 7, 10, 10});
  CHECK(statistics.channels()[0].count == 4);
  CHECK(statistics.channels()[0].mean == Approx(4));
  CHECK(statistics.channels()[0].deviation() == Approx(std::sqrt(5.0)));
  CHECK(statistics.channels()[1].mean == Approx(10));
  CHECK(statistics.channels()[1].deviation() == 0);
  // All eight: mean 7, squares 36 + 16 + 4 + 0 + 4 * 9.
  CHECK(statistics.sigma_data() == Approx(std::sqrt(92 / 8.0)));
  CHECK(DatasetStatistics(1).sigma_data() == 0);
}

TEST_CASE("DatasetStatistics keep small deviations about a large mean") {
  // Deviations of 1/16 about 2^16: sums of squares in float, and differences of them, would lose all of it.
  DatasetStatistics statistics(1);
  for (int image = 0; image < 1000; ++image) {
    statistics.add(std::vector<float>{65536.0625F, 65535.9375F, 65536.0625F, 65535.9375F});
  }
  CHECK(statistics.channels()[0].mean == Approx(65536).epsilon(1e-15));
  CHECK(statistics.sigma_data() == Approx(0.0625).epsilon(1e-12));
}

TEST_CASE("DatasetStatistics of parts, merged, are those of the whole") {
  const auto image = [](int index) {
    std::vector<float> values;
    for (int at = 0; at < 6; ++at) values.push_back(static_cast<float>(std::sin(index * 7 + at)));
    return values;
  };
  DatasetStatistics whole(2), first(2), second(2);
  for (int index = 0; index < 50; ++index) {
    whole.add(image(index));
    (index < 13 ? first : second).add(image(index));
  }
  first.merge(DatasetStatistics(2));
  first.merge(second);
  for (std::size_t channel = 0; channel < 2; ++channel) {
    CHECK(first.channels()[channel].count == 150);
    CHECK(first.channels()[channel].mean == Approx(whole.channels()[channel].mean).epsilon(1e-14));
    CHECK(first.channels()[channel].deviation() == Approx(whole.channels()[channel].deviation()).epsilon(1e-14));
  }
  CHECK(first.sigma_data() == Approx(whole.sigma_data()).epsilon(1e-14));
}

TEST_CASE("DatasetStatistics refuse what does not fit") {
  DatasetStatistics statistics(2);
  CHECK_ERROR(ConfigError, "DatasetStatistics: channels: expected at least 1, got 0", DatasetStatistics(0));
  CHECK_ERROR(ConfigError, "DatasetStatistics: channels: expected at least 1, got -1", DatasetStatistics(-1));
  CHECK_ERROR(ShapeError, "DatasetStatistics: image: expected a multiple of 2 values, got 3",
              statistics.add(std::vector<float>(3)));
  CHECK_ERROR(ShapeError, "DatasetStatistics: other: expected 2 channels, got 1",
              statistics.merge(DatasetStatistics(1)));

  const TemporaryFolder folder;
  const float broken = std::numeric_limits<float>::quiet_NaN();
  const std::string bytes(reinterpret_cast<const char*>(&broken), sizeof(broken));
  const MappedArray array(folder.add("a", bytes), {.image = {1, 1, 1}, .scalar = ArrayScalar::float32});
  CHECK_ERROR(DataError, "measure: images: expected finite values, got nan in image 0", measure(array));
}

TEST_CASE("measure gives the published mean and deviation of Fashion-MNIST") {
  const std::filesystem::path folder = "/usr/share/datasets/fashion-mnist";
  if (!std::filesystem::exists(folder)) return;
  const DatasetStatistics statistics = measure(read_idx_dataset({.images = folder / "train-images-idx3-ubyte.gz"}));
  // 0.2860 and 0.3530 of values from 0 to 1, the constants that programs normalise it by.
  CHECK(statistics.channels()[0].count == 60'000 * 28 * 28);
  CHECK(statistics.channels()[0].mean == Approx(2 * 0.2860 - 1).margin(1e-4));
  CHECK(statistics.sigma_data() == Approx(2 * 0.3530).margin(1e-4));
}

}  // namespace
}  // namespace patchdiff
