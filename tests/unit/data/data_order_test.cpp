// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <set>
#include <vector>

#include <patchdiff/data/data_order.hpp>

#include "support/catch.hpp"
#include "support/statistics.hpp"

using namespace patchdiff;

TEST_CASE("DataOrder shows every image once per epoch") {
  const std::uint64_t images = GENERATE(1, 2, 3, 7, 64, 65, 1000);
  const DataOrder order({5}, images);
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    std::set<std::uint64_t> seen;
    for (std::uint64_t i = 0; i < images; ++i) seen.insert(order(epoch * images + i));
    CHECK(seen.size() == images);
    CHECK(*seen.rbegin() == images - 1);
  }
}

TEST_CASE("DataOrder differs between epochs and between keys") {
  const std::uint64_t images = 1000;
  const DataOrder order({5}, images), other({6}, images);
  std::uint64_t same_epoch = 0, same_key = 0;
  for (std::uint64_t i = 0; i < images; ++i) {
    same_epoch += order(i) == order(images + i) ? 1 : 0;
    same_key += order(i) == other(i) ? 1 : 0;
  }
  // Fixed points of two random permutations: Poisson with mean 1, above 12 with probability 1e-10.
  CHECK(same_epoch <= 12);
  CHECK(same_key <= 12);
}

TEST_CASE("DataOrder puts every image at every position equally often") {
  const std::uint64_t images = 10;
  const std::uint64_t epochs = 20000;
  const DataOrder order({9}, images);
  std::vector<double> counts(images * images);
  for (std::uint64_t position = 0; position < images * epochs; ++position) {
    ++counts[position % images * images + order(position)];
  }
  // (images - 1)^2 degrees of freedom; the bound for 82 classes has a false-alarm rate of 1e-6.
  CHECK(chi_square(counts, static_cast<double>(epochs) / static_cast<double>(images)) < largest_chi_square(82));
}
