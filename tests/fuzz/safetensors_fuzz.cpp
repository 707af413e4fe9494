// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/io/safetensors_reader.hpp>

/// A file is refused by a DataError or every tensor can be read.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(input, size));
  try {
    const patchdiff::SafetensorsReader file(std::vector<std::byte>(bytes.begin(), bytes.end()), "input");
    for (const patchdiff::SafetensorsTensor& tensor : file.tensors()) {
      if (file.find(tensor.name) != &tensor) std::abort();
      std::size_t sum = 0;
      for (const std::byte byte : tensor.data) sum += std::to_integer<std::size_t>(byte);
      volatile std::size_t used = sum;
      static_cast<void>(used);
      try {
        if (tensor.values<double>().size() != tensor.values<float>().size()) std::abort();
      } catch (const patchdiff::DataError&) {  // of a type without values
      }
    }
  } catch (const patchdiff::DataError&) {
  }
  return 0;
}
