// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <patchdiff/core/describe.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/diffusion/edm.hpp>
#include <patchdiff/diffusion/formulation.hpp>
#include <patchdiff/diffusion/iddpm.hpp>
#include <patchdiff/diffusion/sub_vp.hpp>
#include <patchdiff/diffusion/ve.hpp>
#include <patchdiff/diffusion/vp.hpp>

namespace patchdiff {

/// The library's formulation of that name; `setting(key, default)` gives the value of each of its settings.
///
/// Errors: DataError for an unknown name.
inline Formulation named_formulation(std::string_view name,
                                     const std::function<double(std::string_view, double)>& setting) {
  std::optional<Formulation> found;
  std::string known;
  const auto consider = [&](auto model) {
    known += str(known.empty() ? "" : ", ", '"', model.name, '"');
    if (model.name != name) return;
    patchdiff::describe(model,
                        [&](std::string_view key, double& value, std::string_view) { value = setting(key, value); });
    found = model;
  };
  consider(EDM{});
  consider(IDDPM{});
  consider(SubVP{});
  consider(VE{});
  consider(VP{});
  if (!found) refuse<DataError>("Formulation", "name", "one of " + known, '"' + std::string(name) + '"');
  return *found;
}

}  // namespace patchdiff
