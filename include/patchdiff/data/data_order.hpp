// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>

#include <patchdiff/core/random_stream.hpp>

namespace patchdiff {

/// The order in which a run sees its images: a new permutation in each epoch, computed for any position at once.
///
/// Draws: a Feistel network of 8 rounds keyed by `Purpose::data_order`, step = epoch, over the next even power of two,
/// walked until it lands inside the data.
class DataOrder {
 public:
  /// `images` is the size of the data, at least 1.
  DataOrder(RandomKey key, std::uint64_t images) noexcept
      : key_(key), images_(images), half_bits_((static_cast<int>(std::bit_width(images - 1)) + 1) / 2) {}

  /// The image at a position of the run; positions count images seen, over all epochs.
  std::uint64_t operator()(std::uint64_t position) const noexcept {
    const std::uint64_t epoch = position / images_;
    std::uint64_t index = position % images_;
    do {
      index = permuted(index, epoch);
    } while (index >= images_);
    return index;
  }

 private:
  std::uint64_t permuted(std::uint64_t index, std::uint64_t epoch) const noexcept {
    const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
    std::uint64_t left = index >> half_bits_;
    std::uint64_t right = index & mask;
    for (std::uint64_t round = 0; round < 8; ++round) {
      const RandomStream stream(key_, Purpose::data_order, epoch, round);
      const std::uint64_t mixed = left ^ (stream.bits(right) & mask);
      left = right;
      right = mixed;
    }
    return left << half_bits_ | right;
  }

  RandomKey key_;
  std::uint64_t images_;
  int half_bits_;
};

}  // namespace patchdiff
