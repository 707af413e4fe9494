// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/io/mapped_file.hpp>
#include <patchdiff/io/safetensors_header.hpp>
#include <patchdiff/io/safetensors_tensor.hpp>

namespace patchdiff {

/// The contents of a safetensors file, checked in full before anything is handed out.
///
/// Move-only: the tensors view bytes that the reader owns. A file is mapped, so that its tensors take no memory until
/// they are read; it must keep its length meanwhile, see MappedFile.
/// Errors: FileError if the file cannot be read; DataError, naming the file, unless the header is sound and the
/// tensors cover the data exactly, without gaps or overlap.
class SafetensorsReader {
 public:
  /// Maps and checks a file.
  explicit SafetensorsReader(const std::filesystem::path& path) : path_(path.string()) {
    parse(file_.emplace(path, "SafetensorsReader").bytes());
  }

  /// Takes the bytes of a file; `name` stands for its path in error messages.
  SafetensorsReader(std::vector<std::byte> bytes, std::string name) : path_(std::move(name)), bytes_(std::move(bytes)) {
    parse(bytes_);
  }

  SafetensorsReader(SafetensorsReader&&) noexcept = default;
  SafetensorsReader& operator=(SafetensorsReader&&) noexcept = default;

  /// The file's texts by name.
  const std::map<std::string, std::string>& metadata() const noexcept { return metadata_; }

  /// Errors: DataError for a file that was written to since it was opened; see MappedFile.
  void require_unchanged() const {
    if (file_) file_->require_unchanged();
  }

  /// The tensors as they lie in the file; not of a temporary, which a range-based `for` would outlive.
  const std::vector<SafetensorsTensor>& tensors() const& noexcept { return tensors_; }
  void tensors() const&& = delete;

  /// The tensor of that name, or nullptr.
  const SafetensorsTensor* find(std::string_view name) const noexcept {
    const auto found = index_.find(name);
    return found == index_.end() ? nullptr : &tensors_[found->second];
  }

  /// The tensor of that name. Errors: DataError if there is none.
  const SafetensorsTensor& at(std::string_view name) const {
    const SafetensorsTensor* tensor = find(name);
    if (tensor == nullptr) refuse_file(str("a tensor \"", name, '"'), str(tensors_.size(), " others"));
    return *tensor;
  }

  /// The bytes of a tensor, or of some of its rows, in memory of their own.
  ///
  /// Errors: as of MappedFile::read; a program that touches `data` of a file that was cut off is killed.
  std::vector<std::byte> read(const SafetensorsTensor& tensor) const {
    if (file_) return file_->read(tensor.data);
    return {tensor.data.begin(), tensor.data.end()};
  }

 private:
  static constexpr std::size_t length_size = sizeof(std::uint64_t);
  /// The reference implementation's limit.
  static constexpr std::uint64_t maximum_header = 100'000'000;

  [[noreturn]] void refuse_file(std::string_view expected, std::string_view got) const {
    refuse<DataError>("SafetensorsReader", path_, expected, got);
  }

  void parse(std::span<const std::byte> bytes) {
    if (bytes.size() < length_size) refuse_file("at least 8 bytes", str(bytes.size()));
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), length_size);
    const std::uint64_t maximum = std::min<std::uint64_t>(bytes.size() - length_size, maximum_header);
    if (length > maximum) {
      const std::string_view other = kind_of(bytes);
      refuse_file(str("a header of at most ", maximum, " bytes"), other.empty() ? str(length) : other);
    }

    const auto header_size = static_cast<std::size_t>(length);
    const std::string_view text{reinterpret_cast<const char*>(bytes.data()) + length_size, header_size};
    if (!text.starts_with('{')) refuse_file("a header that starts with {", "something else");
    SafetensorsHeader header = SafetensorsHeaderParser::parse(text, path_);
    metadata_ = std::move(header.metadata);
    place(std::move(header.items), bytes.subspan(length_size + header_size));
  }

  /// What other kinds of files that hold weights start with.
  static std::string_view kind_of(std::span<const std::byte> bytes) noexcept {
    const std::string_view start{reinterpret_cast<const char*>(bytes.data()), length_size};
    if (start.starts_with("PK")) return "a ZIP archive, as TorchScript and PyTorch's own files are";
    if (start.starts_with('\x80')) return "a pickle, as of Python";
    return {};
  }

  void place(std::vector<SafetensorsHeader::Item> items, std::span<const std::byte> data) {
    // Tensors without elements may begin at one byte. (std::stable_sort of libstdc++ 12 is a warning of Clang 19.)
    std::sort(items.begin(), items.end(), [](const auto& left, const auto& right) {
      return std::tie(left.begin, left.end, left.entry.name) < std::tie(right.begin, right.end, right.entry.name);
    });
    std::uint64_t offset = 0;
    tensors_.reserve(items.size());
    for (auto& [entry, begin, end] : items) {
      if (begin > end || end > data.size()) {
        refuse_file(str("data_offsets of \"", entry.name, "\" in ", data.size(), " bytes"),
                    str('[', begin, ", ", end, ']'));
      }
      const auto bytes = byte_count(entry);
      if (bytes != end - begin) {
        refuse_file(str(end - begin, " bytes of \"", entry.name, '"'),
                    str(to_string(entry.type), " of shape ", to_string(entry.shape)));
      }
      if (begin != offset) {
        refuse_file(str('"', entry.name, "\" to start at byte ", offset), str(begin));
      }
      offset = end;
      index_.emplace(entry.name, tensors_.size());
      const auto view = data.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
      tensors_.push_back({std::move(entry), view});
    }
    if (offset != data.size()) refuse_file(str(offset, " bytes of data"), str(data.size()));
  }

  std::string path_;
  std::optional<MappedFile> file_{};
  std::vector<std::byte> bytes_{};  ///< where there is no file
  std::map<std::string, std::string> metadata_{};
  std::vector<SafetensorsTensor> tensors_{};
  std::map<std::string, std::size_t, std::less<>> index_{};
};

}  // namespace patchdiff
