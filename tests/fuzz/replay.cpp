// SPDX-License-Identifier: Apache-2.0
// replay FOLDER: what libFuzzer does with a corpus, for compilers that have none.
#include <cstddef>
#include <cstdint>
#include <filesystem>

#include <fmt/format.h>

#include "../support/files.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size);

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  int inputs = 0;
  for (const std::string& name : names_in(argv[1])) {
    const std::string bytes = bytes_of(std::filesystem::path(argv[1]) / name);
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    ++inputs;
  }
  fmt::print("{} inputs\n", inputs);
  return inputs == 0 ? 1 : 0;
}
