// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/io/safetensors_tensor.hpp>

namespace patchdiff {

/// The header of a safetensors file as its JSON says it; nothing is checked against the data yet.
struct SafetensorsHeader {
  struct Item {
    SafetensorsEntry entry{};
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
  };

  std::map<std::string, std::string> metadata{};
  std::vector<Item> items{};
};

/// Reads the JSON of a header as it streams by (nlohmann's SAX interface), and accepts only what a header may hold.
///
/// No tree is built, so memory is bounded by the text, and nesting stops at the first level that does not belong.
/// Errors: DataError naming the file.
class SafetensorsHeaderParser {
 public:
  static SafetensorsHeader parse(std::string_view text, const std::string& path) {
    SafetensorsHeaderParser parser{path};
    // nlohmann takes a zero byte for the end of the text.
    if (const auto zero = text.find('\0'); zero != std::string_view::npos) {
      parser.refuse_file("a header of JSON", str("a zero byte at byte ", zero));
    }
    nlohmann::json::sax_parse(text.begin(), text.end(), &parser);
    return std::move(parser.header_);
  }

  // What nlohmann calls.
  bool null() { return refuse_value("null"); }
  bool boolean(bool) { return refuse_value("a boolean"); }
  bool number_integer(std::int64_t value) { return refuse_value(str(value)); }
  bool number_float(double, const std::string& text) { return refuse_value(text); }
  bool binary(const nlohmann::json::binary_t&) { return refuse_value("binary data"); }

  bool number_unsigned(std::uint64_t value) {
    if (level_ == Level::shape && value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      item().entry.shape.push_back(static_cast<std::int64_t>(value));
    } else if (level_ == Level::offsets && offsets_ < 2) {
      (offsets_++ == 0 ? item().begin : item().end) = value;
    } else {
      refuse_value(str(value));
    }
    return true;
  }

  bool string(const std::string& value) {
    if (level_ == Level::metadata) {
      header_.metadata[field_] = value;
    } else if (level_ == Level::tensor && field_ == "dtype") {
      const auto type = safetensors_type(value);
      if (!type) refuse_file(expectation(), str('"', value, '"'));
      item().entry.type = *type;
    } else {
      refuse_value("a string");
    }
    return true;
  }

  bool start_object(std::size_t) {
    if (level_ == Level::file) {
      level_ = Level::header;
    } else if (level_ == Level::header) {
      level_ = name_ == metadata_name ? Level::metadata : Level::tensor;
      if (level_ == Level::tensor) header_.items.push_back({.entry = {.name = name_}});
      fields_.clear();
    } else {
      refuse_value("an object");
    }
    return true;
  }

  bool key(const std::string& key) {
    if (level_ == Level::header) {
      if (!names_.insert(key).second) refuse_file("each tensor once", str('"', key, "\" again"));
      name_ = key;
      return true;
    }
    if (level_ == Level::tensor && key != "dtype" && key != "shape" && key != "data_offsets") {
      refuse_file(str("dtype, shape and data_offsets of \"", name_, '"'), str('"', key, '"'));
    }
    if (!fields_.insert(key).second) {
      refuse_file(str("each key of \"", name_, "\" once"), str('"', key, "\" again"));
    }
    field_ = key;
    return true;
  }

  bool end_object() {
    if (level_ == Level::tensor && fields_.size() < 3) {
      refuse_file(str("dtype, shape and data_offsets of \"", name_, '"'), str(fields_.size(), " of them"));
    }
    level_ = level_ == Level::header ? Level::file : Level::header;
    return true;
  }

  bool start_array(std::size_t) {
    if (level_ == Level::tensor && field_ == "shape") {
      level_ = Level::shape;
    } else if (level_ == Level::tensor && field_ == "data_offsets") {
      level_ = Level::offsets;
      offsets_ = 0;
    } else {
      refuse_value("a list");
    }
    return true;
  }

  bool end_array() {
    if (level_ == Level::offsets && offsets_ < 2) refuse_file(expectation(), str(offsets_, " of them"));
    level_ = Level::tensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) {
    refuse_file("a header of JSON", str("an error at byte ", position));
  }

 private:
  enum class Level { file, header, metadata, tensor, shape, offsets };

  static constexpr std::string_view metadata_name = "__metadata__";

  explicit SafetensorsHeaderParser(std::string path) : path_(std::move(path)) {}

  SafetensorsHeader::Item& item() { return header_.items.back(); }

  [[noreturn]] void refuse_file(std::string_view expected, std::string_view got) const {
    refuse<DataError>("SafetensorsReader", path_, expected, got);
  }

  bool refuse_value(std::string_view got) const { refuse_file(expectation(), got); }

  std::string expectation() const {
    switch (level_) {
      case Level::file: return "a header that is a JSON object";
      case Level::header: return str("an object for \"", name_, '"');
      case Level::metadata: return str("a string for \"", field_, "\" in the metadata");
      case Level::shape: return str("whole sizes in the shape of \"", name_, '"');
      case Level::offsets: return str("two whole data_offsets of \"", name_, '"');
      case Level::tensor: break;
    }
    if (field_ == "dtype") return str("a known dtype of \"", name_, '"');
    return str("a list as ", field_, " of \"", name_, '"');
  }

  std::string path_;
  SafetensorsHeader header_{};
  Level level_ = Level::file;
  std::set<std::string> names_{};
  std::string name_{};
  std::set<std::string> fields_{};
  std::string field_{};
  int offsets_ = 0;
};

}  // namespace patchdiff
