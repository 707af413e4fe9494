// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/io/safetensors_reader.hpp>
#include <patchdiff/io/settings_json.hpp>

#include "class_names.hpp"
#include "settings.hpp"

/// What the program keeps in a file of a model with so many classes; of another program's file, defaults and numbers as
/// class names.
///
/// Errors: DataError for a record that cannot be read, or that names another number of classes.
inline ModelRecord read_record(const patchdiff::SafetensorsReader& file, const std::string& path,
                               std::int64_t classes) {
  ModelRecord record;
  const auto found = file.metadata().find(ModelRecord::key);
  if (found == file.metadata().end()) {
    for (const std::int64_t label : all_classes(classes)) record.class_names.push_back(fmt::format("{}", label));
    return record;
  }
  record = patchdiff::settings_json::options<ModelRecord>(found->second, path);
  if (static_cast<std::int64_t>(record.class_names.size()) != classes) {
    throw patchdiff::DataError("model_file", path, fmt::format("names of {} classes", classes),
                               fmt::format("{}", record.class_names.size()));
  }
  return record;
}
