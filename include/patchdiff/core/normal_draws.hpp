// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <patchdiff/core/random_stream.hpp>

namespace patchdiff {

/// Unit normal numbers from several streams: of each, for every `first`, `length` numbers from that one on.
struct NormalDraws {
  std::vector<RandomStream> streams;     ///< may be empty
  std::vector<std::uint64_t> firsts{0};  ///< at least one
  std::size_t length = 0;                ///< of each run of numbers

  /// All of them, by streams, then by firsts; computed in double and rounded to Scalar.
  template <class Scalar>
  std::vector<Scalar> values() const {
    std::vector<Scalar> all(streams.size() * firsts.size() * length);
    std::span<Scalar> rest(all);
    for (const RandomStream& stream : streams) {
      for (const std::uint64_t first : firsts) {
        stream.normals(rest.first(length), first);
        rest = rest.subspan(length);
      }
    }
    return all;
  }
};

}  // namespace patchdiff
