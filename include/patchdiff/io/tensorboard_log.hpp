// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/io/append_file.hpp>
#include <patchdiff/io/crc32c.hpp>
#include <patchdiff/io/json_quoted.hpp>
#include <patchdiff/io/picture.hpp>
#include <patchdiff/io/png.hpp>
#include <patchdiff/io/protobuf_message.hpp>

namespace patchdiff {

/// Where event files go.
struct TensorBoardLogOptions {
  std::filesystem::path folder{};       ///< of the run; it exists
  std::string host{};                   ///< this machine's name, a part of the file's name
  std::function<double()> wall_time{};  ///< now, in seconds since 1970
  std::int64_t first_step = 0;          ///< of a run that goes on: TensorBoard forgets what it knew from there on
};

/// Numbers and pictures over the steps of a run, as an event file that TensorBoard opens.
///
/// A file is never continued: a run that goes on writes another in the same folder, and TensorBoard shows both as one.
/// Others see of the file what they see of an AppendFile.
/// Errors: ConfigError for options; DataError for a tag that is empty or not UTF-8; those of `encode_png`; FileError,
/// after which the file still ends with its last whole record.
/// Source: TensorFlow's event.proto and summary.proto; records as in its record_writer.
class TensorBoardLog {
 public:
  /// A point of a curve.
  struct Scalar {
    std::string tag;
    double value;  ///< kept in single precision; may be NaN
  };

  explicit TensorBoardLog(TensorBoardLogOptions options)
      : options_(checked(std::move(options))), path_(new_path()), file_(path_, component, "record") {
    append(ProtobufMessage().add_double(1, options_.wall_time()).add_bytes(3, "brain.Event:2"));
    if (options_.first_step > 0) {
      const auto restart = ProtobufMessage().add_integer(1, 1);
      append(event(options_.first_step).add_message(7, restart));
    }
  }

  void append(std::int64_t step, const std::vector<Scalar>& scalars) {
    ProtobufMessage summary;
    for (const Scalar& scalar : scalars) {
      summary.add_message(1, value_of(scalar.tag).add_float(2, static_cast<float>(scalar.value)));
    }
    append(event(step).add_message(5, summary));
  }

  void append(std::int64_t step, const std::string& tag, const Picture& picture) {
    const std::vector<std::byte> png = encode_png(picture);
    ProtobufMessage image;
    image.add_integer(1, picture.shape.height).add_integer(2, picture.shape.width);
    image.add_integer(3, picture.shape.channels).add_bytes(4, {reinterpret_cast<const char*>(png.data()), png.size()});
    append(event(step).add_message(5, ProtobufMessage().add_message(1, value_of(tag).add_message(4, image))));
  }

  /// Waits until the records are on the disk.
  void sync() const { file_.sync(); }

  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  static constexpr const char* component = "TensorBoardLog";

  static TensorBoardLogOptions checked(TensorBoardLogOptions options) {
    if (options.host.empty() || options.host.find_first_of("/\\") != std::string::npos) {
      refuse<ConfigError>(component, "host", "a name without slashes", str('"', options.host, '"'));
    }
    if (!options.wall_time) refuse<ConfigError>(component, "wall_time", "a function", "none");
    return options;
  }

  /// TensorBoard reads a folder's files by name, so the time comes first.
  std::filesystem::path new_path() const {
    const auto seconds = static_cast<std::int64_t>(options_.wall_time());
    for (int number = 0;; ++number) {
      auto path = options_.folder /
                  str("events.out.tfevents.", padded(seconds, 10), '.', options_.host, '.', padded(number, 3));
      if (std::FILE* file = std::fopen(path.string().c_str(), "wbx")) {
        std::fclose(file);
        return path;
      }
      if (errno != EEXIST) {
        refuse<FileError>(component, path.string(), "a writable folder",
                          str('"', std::generic_category().message(errno), '"'));
      }
    }
  }

  static ProtobufMessage value_of(const std::string& tag) {
    if (tag.empty()) refuse<DataError>(component, "tag", "a name", "\"\"");
    json_quoted(component, tag);  // refuses what is not UTF-8, at which TensorBoard would stop reading
    return ProtobufMessage().add_bytes(1, tag);
  }

  ProtobufMessage event(std::int64_t step) const {
    return ProtobufMessage().add_double(1, options_.wall_time()).add_integer(2, step);
  }

  void append(const ProtobufMessage& message) {
    const auto checksum = [](std::string_view bytes) {
      const std::uint32_t crc = crc32c(bytes);
      return little_endian((crc >> 15 | crc << 17) + 0xA282EAD8, 4);
    };
    const std::string& data = message.bytes();
    const std::string length = little_endian(data.size(), 8);
    file_.append(length + checksum(length) + data + checksum(data));
  }

  TensorBoardLogOptions options_;
  std::filesystem::path path_;
  AppendFile file_;
};

}  // namespace patchdiff
