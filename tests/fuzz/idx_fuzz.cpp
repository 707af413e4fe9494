// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include <patchdiff/core/error.hpp>
#include <patchdiff/data/idx_array.hpp>

/// A file is refused by a DataError or has as many values as its shape says, plain or gzip, of images and of labels.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
  constexpr std::uint64_t most = 1 << 20;
  const auto bytes = std::as_bytes(std::span(input, size));
  for (const std::size_t rank : {std::size_t{1}, std::size_t{3}}) {
    try {
      const patchdiff::IdxOptions options{.rank = rank, .maximum_bytes = most};
      const patchdiff::IdxArray array = patchdiff::parse_idx(bytes, "input", options);
      std::uint64_t count = 1;
      for (const std::int64_t side : array.shape) count *= static_cast<std::uint64_t>(side);
      if (array.shape.size() != rank || array.values.size() != count) std::abort();
    } catch (const patchdiff::DataError&) {
    }
  }
  return 0;
}
