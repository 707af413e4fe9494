// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <patchdiff/core/describe.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/core/nearest_name.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/diffusion/formulation.hpp>
#include <patchdiff/diffusion/named_formulation.hpp>
#include <patchdiff/io/json_depth.hpp>

/// Settings as JSON, from the one description that each Options struct has.
namespace patchdiff::settings_json {

using Json = nlohmann::ordered_json;

inline Json write(bool value) { return value; }
inline Json write(std::int64_t value) { return value; }
inline Json write(std::uint64_t value) { return value; }
inline Json write(double value) { return value; }
inline Json write(const std::string& value) { return value; }
inline Json write(const std::vector<std::int64_t>& value) { return value; }
inline Json write(const std::vector<double>& value) { return value; }
inline Json write(const std::vector<std::string>& value) { return value; }
inline Json write(ImageSize value) { return {value.height, value.width}; }
inline Json write(ImageShape value) { return {value.channels, value.height, value.width}; }
template <NamedEnum Enum>
Json write(Enum value) {
  return std::string(name_of(value));
}
inline Json write(const Formulation& value) {
  Json json{{"name", value.name()}};
  value.visit_settings([&](std::string_view key, double setting) { json[std::string(key)] = setting; });
  return json;
}

/// JSON says an infinity and NaN as null, which no setting reads.
inline void require_finite(std::string_view key, const Json& json) {
  if (json.is_structured()) {
    for (const Json& item : json) require_finite(key, item);
  } else if (json.is_number_float() && !std::isfinite(json.get<double>())) {
    refuse<ConfigError>("settings", key, "a finite value", str(json.get<double>()));
  }
}

/// Errors: ConfigError for a number that is not finite.
template <Described Options>
Json write(const Options& options) {
  Json json = Json::object();
  describe(options, [&](std::string_view key, const auto& value, std::string_view) {
    Json& written = json[std::string(key)] = write(value);
    require_finite(key, written);
  });
  return json;
}

/// Parsed, or discarded where it is no JSON or nested deeper than any settings.
inline Json parse(const std::string& text) {
  if (!is_shallow_json(text)) return Json(Json::value_t::discarded);
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

inline void read(const Json& json, bool& value) { value = json.get<bool>(); }
inline void read(const Json& json, double& value) { value = json.get<double>(); }
inline void read(const Json& json, std::string& value) { value = json.get<std::string>(); }
inline void read(const Json& json, std::int64_t& value) {
  constexpr auto largest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (!json.is_number_integer() || (json.is_number_unsigned() && json.get<std::uint64_t>() > largest)) {
    throw Json::type_error::create(302, "not an integer of 64 bits", &json);
  }
  value = json.get<std::int64_t>();
}
inline void read(const Json& json, std::uint64_t& value) {
  if (!json.is_number_unsigned()) throw Json::type_error::create(302, "not an integer of at least 0", &json);
  value = json.get<std::uint64_t>();
}
template <class Item>
void read(const Json& json, std::vector<Item>& value) {
  if (!json.is_array()) throw Json::type_error::create(302, "not a list", &json);
  value.clear();
  for (const Json& item : json) read(item, value.emplace_back());
}
inline void read(const Json& json, ImageSize& value) {
  std::vector<std::int64_t> sizes;
  read(json, sizes);
  if (sizes.size() != 2) throw Json::type_error::create(302, "not two sizes", &json);
  value = {sizes[0], sizes[1]};
}
inline void read(const Json& json, ImageShape& value) {
  std::vector<std::int64_t> sizes;
  read(json, sizes);
  if (sizes.size() != 3) throw Json::type_error::create(302, "not three sizes", &json);
  value = {sizes[0], sizes[1], sizes[2]};
}
template <NamedEnum Enum>
void read(const Json& json, Enum& value) {
  const std::optional<Enum> named = value_named<Enum>(json.get<std::string>());
  if (!named) throw Json::type_error::create(302, "an unknown name", &json);
  value = *named;
}
inline void read(const Json& json, Formulation& value) {
  value = named_formulation(json.at("name").get<std::string>(),
                            [&](std::string_view key, double) { return json.at(std::string(key)).get<double>(); });
}

/// Which fields must be there.
enum class Keys : std::uint8_t { all, some };

/// Reads the fields; `source` is what errors call the place that the JSON came from.
template <Described Options>
void read(const Json& json, Options& options, const std::string& source, Keys keys = Keys::all) {
  if (!json.is_object()) {
    refuse<DataError>("settings", source, "a JSON object", json.is_discarded() ? "other text" : json.dump());
  }
  std::vector<std::string> known;
  describe(options, [&](std::string_view key, const auto&, std::string_view) { known.emplace_back(key); });
  for (const auto& [key, value] : json.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      refuse<DataError>("settings", source, str("a known key such as \"", nearest_name(key, known), '"'),
                        str('"', key, '"'));
    }
  }
  describe(options, [&](std::string_view key, auto& value, std::string_view help) {
    const auto found = json.find(std::string(key));
    if (found == json.end() && keys == Keys::some) return;
    if (found == json.end()) {
      refuse<DataError>("settings", source, str("a value of \"", key, "\" (", help, ')'), "none");
    }
    try {
      if constexpr (Described<std::remove_cvref_t<decltype(value)>>) {
        read(*found, value, source, keys);
      } else {
        read(*found, value);
      }
    } catch (const Json::exception&) {
      refuse<DataError>("settings", source, str("a sound value of \"", key, "\" (", help, ')'), found->dump());
    }
  });
}

/// Every field of the options, by its key. Errors: ConfigError for a number that is not finite.
template <Described Options>
std::string text(const Options& options) {
  return write(options).dump();
}

/// The options that `text` wrote; every key must be there, and no other.
///
/// Errors: DataError that names `source` and the key.
template <Described Options>
Options options(const std::string& text, const std::string& source) {
  Options options;
  read(parse(text), options, source);
  return options;
}

}  // namespace patchdiff::settings_json
