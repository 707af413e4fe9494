// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>

/// Refuses to write a file that another option names: `out` is that of `option`, `other` that of `other_option`.
///
/// An empty name is none. Errors: ConfigError of the component.
inline void require_different_files(std::string_view component, std::string_view option, const std::string& out,
                                    std::string_view other_option, const std::string& other) {
  namespace fs = std::filesystem;
  if (out.empty() || other.empty()) return;
  const auto resolved = [](const std::string& name) {
    std::error_code unknown;
    const fs::path path = fs::weakly_canonical(fs::absolute(name, unknown), unknown);
    return unknown ? fs::path(name) : path;
  };
  if (resolved(out) != resolved(other)) return;
  throw patchdiff::ConfigError(component, option, fmt::format("another file than {}", other_option),
                               fmt::format("\"{}\"", out));
}
