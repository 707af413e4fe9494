// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/io/atomic_file.hpp>
#include <patchdiff/io/json_quoted.hpp>
#include <patchdiff/io/safetensors_tensor.hpp>

namespace patchdiff {

/// Writes a safetensors file tensor by tensor; it appears under its name when it is whole (see AtomicFile).
///
/// Equal tensors and metadata give equal bytes, in whatever order they are listed: the file holds the widest type
/// first, then goes by name, as the format's reference implementation does, so that each tensor is aligned to its type.
/// Errors: FileError from the file; ShapeError for sizes that do not fit; DataError for names and text that cannot be
/// written.
class SafetensorsWriter {
 public:
  /// Opens the file and writes its header.
  SafetensorsWriter(std::filesystem::path path, std::vector<SafetensorsEntry> entries,
                    const std::map<std::string, std::string>& metadata = {})
      : entries_(in_file_order(std::move(entries))), file_(std::move(path), component) {
    const std::string text = header(metadata);
    const std::uint64_t length = text.size();
    std::array<std::byte, sizeof length> prefix{};
    std::memcpy(prefix.data(), &length, sizeof length);
    file_.write(prefix);
    file_.write(text);
  }

  /// The tensors in the order in which `write` takes them.
  const std::vector<SafetensorsEntry>& entries() const noexcept { return entries_; }

  /// Writes the values of the next tensor.
  void write(std::span<const std::byte> data) {
    if (next_ == entries_.size()) refuse_count();
    const SafetensorsEntry& entry = entries_[next_];
    const std::uint64_t expected = byte_count(entry).value();
    if (data.size() != expected) {
      refuse<ShapeError>(component, entry.name, str(expected, " bytes"), str(data.size()));
    }
    file_.write(data);
    ++next_;
  }

  /// Gives the file its name, after the last tensor.
  void commit() {
    if (next_ != entries_.size()) refuse_count();
    file_.commit();
  }

 private:
  static constexpr const char* component = "SafetensorsWriter";
  static constexpr std::string_view metadata_name = "__metadata__";

  [[noreturn]] void refuse_count() const {
    refuse<DataError>(component, "tensors", str(entries_.size(), " calls of write"),
                      next_ == entries_.size() ? "one more" : str(next_));
  }

  static std::vector<SafetensorsEntry> in_file_order(std::vector<SafetensorsEntry> entries) {
    std::set<std::string_view> names{metadata_name};
    for (const SafetensorsEntry& entry : entries) {
      if (!names.insert(entry.name).second) {
        refuse<DataError>(component, "names", "each name once, and none reserved", quoted(entry.name));
      }
      if (!byte_count(entry)) {
        refuse<ShapeError>(component, entry.name, "sizes of 0 or more, of less than 2^63 bytes",
                           to_string(entry.shape));
      }
    }
    std::sort(entries.begin(), entries.end(), [](const SafetensorsEntry& left, const SafetensorsEntry& right) {
      return std::tie(right.type, left.name) < std::tie(left.type, right.name);
    });
    return entries;
  }

  /// The header's JSON, padded with spaces so that the data starts at a multiple of 8.
  std::string header(const std::map<std::string, std::string>& metadata) const {
    std::vector<std::string> items;
    if (!metadata.empty()) {
      std::vector<std::string> pairs;
      for (const auto& [key, value] : metadata) pairs.push_back(str(quoted(key), ':', quoted(value)));
      items.push_back(str('"', metadata_name, "\":{", join(pairs, ","), '}'));
    }
    std::uint64_t offset = 0;
    for (const SafetensorsEntry& entry : entries_) {
      const std::uint64_t end = offset + byte_count(entry).value();
      items.push_back(str(quoted(entry.name), ":{\"dtype\":\"", to_string(entry.type), "\",\"shape\":[",
                          join(entry.shape, ","), "],\"data_offsets\":[", offset, ',', end, "]}"));
      offset = end;
    }
    std::string text = str('{', join(items, ","), '}');
    text.resize((text.size() + 7) / 8 * 8, ' ');
    return text;
  }

  static std::string quoted(const std::string& text) { return json_quoted(component, text); }

  std::vector<SafetensorsEntry> entries_;
  std::size_t next_ = 0;
  AtomicFile file_;
};

/// Writes tensors that are all in memory; see SafetensorsWriter.
inline void write_safetensors(const std::filesystem::path& path, const std::vector<SafetensorsTensor>& tensors,
                              const std::map<std::string, std::string>& metadata = {}) {
  std::map<std::string_view, std::span<const std::byte>> data;
  for (const SafetensorsTensor& tensor : tensors) data.emplace(tensor.name, tensor.data);
  SafetensorsWriter writer{path, {tensors.begin(), tensors.end()}, metadata};
  for (const SafetensorsEntry& entry : writer.entries()) writer.write(data.at(entry.name));
  writer.commit();
}

}  // namespace patchdiff
