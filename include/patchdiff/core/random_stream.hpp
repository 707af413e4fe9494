// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <patchdiff/core/normal_kernel.hpp>
#include <patchdiff/core/philox.hpp>

namespace patchdiff {

/// What a draw is for; draws of different purposes never share a number.
enum class Purpose : std::uint8_t {
  patch_size,
  place,
  sigma,
  training_noise,
  label_dropout,
  dropout,
  initial_weights,
  initial_noise,
  solver_noise,
  data_order,
  probe,
  dequantisation,
  window_shift,
  augmentation,
  metric_subset,
  resample,
};

/// The seed of a run or of a sample, as a value.
struct RandomKey {
  std::uint64_t seed = 0;

  friend bool operator==(const RandomKey&, const RandomKey&) = default;
};

/// The random numbers of one sample at one step for one purpose: a pure function of its index.
///
/// Draw number i is the same on every backend, for every split of a batch and every order of calls.
/// Units: `step` counts up to 2^44, `sample` to 2^32 and the index to 2^46.
class RandomStream {
 public:
  RandomStream(RandomKey key, Purpose purpose, std::uint64_t step, std::uint64_t sample) noexcept
      : key_(key.seed), purpose_(static_cast<std::uint32_t>(purpose)), step_(step), sample_(sample) {}

  /// Four words; word w of block b is draw number 4 b + w.
  std::array<std::uint32_t, 4> block(std::uint64_t index) const noexcept {
    const auto low = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
    return philox({low(index), low(sample_), low(step_), high_word(index)}, key_);
  }

  /// 64 random bits; number i uses draws 2 i and 2 i + 1.
  std::uint64_t bits(std::uint64_t index) const noexcept {
    const auto words = block(index / 2);
    const std::size_t first = (index % 2) * 2;
    return std::uint64_t{words[first + 1]} << 32 | words[first];
  }

  /// A double in (0, 1), from `bits(index)`.
  double uniform(std::uint64_t index) const noexcept {
    return (static_cast<double>(bits(index) >> 12) + 0.5) * 0x1p-52;
  }

  /// An integer in [0, count), from `bits(index)`; count > 0.
  std::uint64_t below(std::uint64_t count, std::uint64_t index) const noexcept {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((Wide{bits(index)} * count) >> 64);
  }

  /// What tells the stream's blocks from those of others.
  normal_kernel::Counter counter() const noexcept {
    return {key_, sample_ & 0xFFFFFFFF, step_ & 0xFFFFFFFF, high_word(0)};
  }

  /// Writes unit normal numbers first, first + 1, ... (Box-Muller on pairs of words, in double).
  template <class Scalar>
  void normals(std::span<Scalar> out, std::uint64_t first = 0) const noexcept {
    using normal_kernel::group;
    const normal_kernel::Counter counter = this->counter();
    for (std::size_t written = 0; written < out.size();) {
      const std::uint64_t index = first + written;
      const std::uint64_t block = index / group * normal_kernel::lanes;
      const auto from = static_cast<std::size_t>(index % group);
      const std::size_t rest = out.size() - written;
      if (from == 0 && rest >= group) {
        const std::size_t groups = rest / group;
        normal_kernel::normals(counter, block, groups, out.data() + written);
        written += groups * group;
      } else {
        Scalar numbers[group];
        normal_kernel::normals(counter, block, 1, numbers);
        const std::size_t count = std::min(group - from, rest);
        std::copy_n(numbers + from, count, out.data() + written);
        written += count;
      }
    }
  }

 private:
  std::uint32_t high_word(std::uint64_t index) const noexcept {
    return purpose_ << 24 | (static_cast<std::uint32_t>(step_ >> 32) & 0xFFF) << 12 |
           (static_cast<std::uint32_t>(index >> 32) & 0xFFF);
  }

  std::uint64_t key_;
  std::uint32_t purpose_;
  std::uint64_t step_;
  std::uint64_t sample_;
};

}  // namespace patchdiff
