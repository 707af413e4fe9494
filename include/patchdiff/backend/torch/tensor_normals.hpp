// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include <patchdiff/backend/torch/operators.hpp>
#include <patchdiff/core/normal_draws.hpp>
#include <patchdiff/core/normal_kernel.hpp>
#include <patchdiff/core/philox.hpp>
#include <patchdiff/core/random_stream.hpp>

/// The normal numbers of `normal_kernel` by operations on tensors of integers, for devices that have no kernel of ours.
namespace patchdiff::torch_normals {

/// Many words of Philox: 32 bits each in an int64, whose product with 32 bits more wraps as unsigned ones do.
struct Words {
  at::Tensor bits;

  friend Words operator*(const Words& x, std::uint64_t factor) {
    return {x.bits.mul(static_cast<std::int64_t>(factor))};
  }
  /// Of a product of words: LibTorch shifts the sign in.
  friend Words operator>>(const Words& x, int places) { return Words{x.bits.bitwise_right_shift(places)} & 0xFFFFFFFF; }
  friend Words operator&(const Words& x, std::uint64_t mask) {
    return {x.bits.bitwise_and(static_cast<std::int64_t>(mask))};
  }
  friend Words operator^(const Words& x, const Words& y) { return {x.bits.bitwise_xor(y.bits)}; }
};

/// Integers that a stream is told by: three words of its counter and all its round keys.
constexpr std::int64_t row_length = 3 + 2 * philox_round_count;

inline void append_row(const normal_kernel::Counter& counter, std::vector<std::int64_t>& rows) {
  const auto append = [&](std::uint64_t word) { rows.push_back(static_cast<std::int64_t>(word)); };
  append(counter.sample);
  append(counter.step);
  append(counter.high);
  for (int round = 0; round < philox_round_count; ++round) {
    for (const int word : {0, 1}) append(philox_round_key(counter.key, round, word));
  }
}

/// Four numbers of each block.
///
/// Shapes: rows [S, row_length], blocks' indices [F, B], both int64; the result is [S, F, 4 B] in float64.
inline at::Tensor normals_of_blocks(const at::Tensor& rows, const at::Tensor& blocks) {
  const auto column = [&](std::int64_t index) { return Words{rows.narrow(1, index, 1).unsqueeze(2)}; };
  const Words index{blocks.unsqueeze(0)};
  std::array<Words, 4> words{index & 0xFFFFFFFF, column(0), column(1), ((index >> 32) & 0xFFF) ^ column(2)};
  philox_rounds(words, [&](int round, int word) { return column(3 + 2 * round + word); });

  std::vector<at::Tensor> numbers;
  for (std::size_t pair = 0; pair < 4; pair += 2) {
    const at::Tensor radius = words[pair].bits.to(at::kDouble).add_(0.5).mul_(0x1p-32).log_().mul_(-2).sqrt_();
    const at::Tensor angle = words[pair + 1].bits.to(at::kDouble).mul_(0x1.921fb54442d18p-30);  // 2 pi 2^-32
    numbers.push_back(angle.cos().mul_(radius));
    numbers.push_back(angle.sin().mul_(radius));
  }
  return torch_ops::stack(numbers, -1).flatten(2);
}

/// Shape: [streams, firsts, length], in float64.
inline at::Tensor normals(const NormalDraws& draws, at::Device device) {
  // Numbers come in blocks of four, and a run may begin within one.
  std::vector<std::int64_t> rows, first_blocks, offsets;
  for (const RandomStream& stream : draws.streams) append_row(stream.counter(), rows);
  for (const std::uint64_t first : draws.firsts) {
    first_blocks.push_back(static_cast<std::int64_t>(first / 4));
    offsets.push_back(static_cast<std::int64_t>(first % 4));
  }
  const auto streams = static_cast<std::int64_t>(draws.streams.size());
  const auto length = static_cast<std::int64_t>(draws.length);
  const std::int64_t last_offset = *std::max_element(offsets.begin(), offsets.end());
  const at::Tensor blocks = torch_ops::ranges(first_blocks, (last_offset + length + 3) / 4, device);
  const at::Tensor table =
      torch_ops::uploaded(std::span<const std::int64_t>(rows), {streams, row_length}, device, at::kLong);
  const at::Tensor numbers = normals_of_blocks(table, blocks);
  if (last_offset == 0) return numbers.narrow(2, 0, length);
  return numbers.gather(2, torch_ops::ranges(offsets, length, device).expand({streams, -1, -1}));
}

}  // namespace patchdiff::torch_normals
