// SPDX-License-Identifier: Apache-2.0
// Small real data, and a small model that was trained on it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <patchdiff/data/idx_array.hpp>
#include <patchdiff/io/safetensors_reader.hpp>
#include <patchdiff/io/safetensors_writer.hpp>

#include "cli/run_patchdiff.hpp"
#include "support/temporary_folder.hpp"

/// The first images of Fashion-MNIST's classes 0, 1 and 2, as a folder of the same names.
inline std::filesystem::path write_small_data(const std::filesystem::path& folder, std::size_t wanted = 120) {
  const std::filesystem::path source = "/usr/share/datasets/fashion-mnist";  // where Debian's package puts it
  std::filesystem::create_directory(folder);
  const auto big_endian = [](std::size_t value) {
    std::string bytes;
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(value >> shift & 0xFF));
    return bytes;
  };
  for (const std::string split : {"train", "t10k"}) {
    const auto images = patchdiff::read_idx(source / (split + "-images-idx3-ubyte.gz"), {.rank = 3});
    const auto labels = patchdiff::read_idx(source / (split + "-labels-idx1-ubyte.gz"), {.rank = 1});
    std::string pixels, classes;
    for (std::size_t index = 0; classes.size() < wanted; ++index) {
      if (labels.values[index] > 2) continue;
      const auto first = images.values.begin() + static_cast<std::ptrdiff_t>(index * 28 * 28);
      pixels.append(first, first + 28 * 28);
      classes.push_back(static_cast<char>(labels.values[index]));
    }
    const std::string count = big_endian(wanted), side = big_endian(28);
    std::ofstream(folder / (split + "-images-idx3-ubyte"))
        << std::string("\0\0\x08\x03", 4) << count << side << side << pixels;
    std::ofstream(folder / (split + "-labels-idx1-ubyte")) << std::string("\0\0\x08\x01", 4) << count << classes;
  }
  return folder;
}

/// Settings of a network that trains in a second.
inline const std::vector<std::string> small_network{"--model-channels",   "4",  "--channel-mult", "1,1",
                                                    "--attn-resolutions", "16", "--precision",    "float32"};

inline std::vector<std::string> joined(std::vector<std::string> first, const std::vector<std::string>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

/// Data, a model trained on it in `run/`, and how that went; made once, for tests that change nothing in it.
struct SmallRun {
  TemporaryFolder folder{};
  std::filesystem::path data = write_small_data(folder / "data");
  std::filesystem::path out = folder / "run";
  std::filesystem::path model = out / "model.safetensors";
  Finished finished = run_patchdiff(joined({"train", "--data", data, "--out", out, "--images", "60", "--batch", "4",
                                            "--class-names", "shirt,trousers,pullover", "--threads", "1"},
                                           small_network));

  static const SmallRun& get() {
    static const SmallRun run;
    return run;
  }
};

/// The small model with one value of its metadata changed.
inline std::filesystem::path changed_model(const TemporaryFolder& folder, const std::string& key,
                                           const std::string& from, const std::string& to) {
  const patchdiff::SafetensorsReader file(SmallRun::get().model);
  std::map<std::string, std::string> metadata = file.metadata();
  std::string& value = metadata[key];
  value.replace(value.find(from), from.size(), to);
  const std::vector<patchdiff::SafetensorsTensor> tensors = file.tensors();
  patchdiff::write_safetensors(folder / "changed.safetensors", tensors, metadata);
  return folder / "changed.safetensors";
}
