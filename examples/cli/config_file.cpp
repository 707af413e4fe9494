// SPDX-License-Identifier: Apache-2.0
#include "config_file.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <utility>

#include <fmt/format.h>
#include <toml++/toml.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/nearest_name.hpp>
#include <patchdiff/io/read_file.hpp>

#include "command_line.hpp"

namespace pd = patchdiff;

namespace {

constexpr std::string_view flag = "--config";

/// An option of a file that another one on the command line takes the place of.
const std::array<std::pair<std::string, std::string>, 2> alternatives{
    {{"--images", "--minutes"}, {"--minutes", "--images"}}};

class ConfigFile {
 public:
  ConfigFile(const CLI::App& command, std::string path) : command_(&command), path_(std::move(path)) {
    const std::vector<std::byte> bytes =
        pd::read_file(path_, {.component = command.get_name(), .maximum_bytes = 1 << 20});
    const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    try {
      for (const auto& [key, node] : toml::parse(text, path_)) read(std::string(key.str()), node);
    } catch (const toml::parse_error& error) {
      throw pd::DataError(command.get_name(), path_, "sound TOML",
                          fmt::format("line {}: {}", error.source().begin.line, error.description()));
    }
  }

  std::vector<std::string> words() && { return std::move(words_); }

 private:
  void read(const std::string& key, const toml::node& node) {
    if (const toml::table* table = node.as_table()) {
      const std::vector<std::string> known = groups();
      if (std::find(known.begin(), known.end(), key) == known.end()) refuse("table", key, known);
      for (const auto& [setting, value] : *table) add(std::string(setting.str()), value, key);
    } else {
      add(key, node, "");
    }
  }

  /// `group`: the table that the key stands in, empty at the top, where any setting may stand.
  void add(const std::string& key, const toml::node& node, const std::string& group) {
    const std::vector<std::string> known = keys(group);
    if (std::find(known.begin(), known.end(), key) == known.end()) refuse("setting", key, known);
    words_.push_back(fmt::format("{}={}", option_name(key), text_of(key, node)));
  }

  [[noreturn]] void refuse(std::string_view kind, const std::string& key, const std::vector<std::string>& known) const {
    throw UsageError(command_->get_name(), path_,
                     fmt::format("a known {} such as \"{}\"", kind, pd::nearest_name(key, known)),
                     fmt::format("\"{}\"", key));
  }

  std::string text_of(const std::string& key, const toml::node& node) const {
    if (const auto text = node.value_exact<std::string>()) return *text;
    if (const auto number = node.value_exact<std::int64_t>()) return setting_text(*number);
    if (const auto number = node.value_exact<double>()) return setting_text(*number);
    if (const auto truth = node.value_exact<bool>()) return setting_text(*truth);
    if (const toml::array* array = node.as_array()) {
      std::vector<std::string> parts;
      for (const toml::node& item : *array) parts.push_back(text_of(key, item));
      return setting_text(parts);
    }
    throw UsageError(command_->get_name(), path_, fmt::format("a number, a text or an array of \"{}\"", key),
                     "another kind of value");
  }

  static std::string lower(std::string text) {
    for (char& letter : text) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    return text;
  }

  /// The keys of the options that take a value, of one group or of all.
  std::vector<std::string> keys(const std::string& group) const {
    std::vector<std::string> names;
    for (const CLI::Option* option : command_->get_options()) {
      if (option->get_items_expected_max() == 0 || option->get_name() == flag) continue;
      if (!group.empty() && lower(option->get_group()) != group) continue;
      std::string name = option->get_name().substr(2);
      std::replace(name.begin(), name.end(), '-', '_');
      names.push_back(std::move(name));
    }
    return names;
  }

  std::vector<std::string> groups() const {
    std::vector<std::string> names;
    for (const CLI::Option* option : command_->get_options()) names.push_back(lower(option->get_group()));
    std::erase(names, "options");
    return names;
  }

  const CLI::App* command_;
  std::string path_;
  std::vector<std::string> words_{};
};

}  // namespace

std::vector<std::string> with_config(const CLI::App& command, std::vector<std::string> words) {
  if (command.get_option_no_throw(std::string(flag)) == nullptr) return words;
  std::vector<std::string> paths;
  for (std::size_t index = 0; index < words.size(); ++index) {
    if (words[index] == flag && index + 1 < words.size()) paths.push_back(words[index + 1]);
    if (words[index].starts_with(fmt::format("{}=", flag))) paths.push_back(words[index].substr(flag.size() + 1));
  }
  std::erase(paths, std::string());
  if (paths.empty()) return words;
  if (paths.size() > 1) throw UsageError(command.get_name(), flag, "one file", fmt::format("{}", paths.size()));
  std::vector<std::string> all = ConfigFile(command, paths.front()).words();
  const auto given = [&](const std::string& option) {
    return std::any_of(words.begin(), words.end(),
                       [&](const std::string& word) { return word == option || word.starts_with(option + "="); });
  };
  for (const auto& [option, other] : alternatives) {
    if (given(other)) std::erase_if(all, [&](const std::string& word) { return word.starts_with(option + "="); });
  }
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

std::string ConfigText::quoted(const std::string& text) {
  std::ostringstream stream;
  stream << toml::value<std::string>(text);
  return stream.str();
}
