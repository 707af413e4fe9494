// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <patchdiff/core/describe.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/core/train_state.hpp>
#include <patchdiff/io/crc32c.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/parallel/gather.hpp>
#include <patchdiff/parallel/process_group.hpp>

namespace patchdiff {

/// Checks that all processes have the settings of process 0, as texts by name.
///
/// Errors: ConfigError of `component`, the same on every process, that names the first setting that differs and where;
/// ProcessError.
template <ProcessGroup G>
void require_equal(G& group, std::string_view component, const std::map<std::string, std::string>& settings) {
  std::vector<double> letters;
  const auto add = [&](const std::string& text) {
    for (const char letter : text + '\0') letters.push_back(static_cast<unsigned char>(letter));
  };
  for (const auto& [name, value] : settings) {
    add(name);
    add(value);
  }
  std::vector<std::map<std::string, std::string>> by_rank;
  for (const std::vector<double>& numbers : gather(group, letters, str("comparison of ", component))) {
    std::vector<std::string> texts(1);
    for (const double letter : numbers) {
      letter == 0 ? void(texts.emplace_back()) : texts.back().push_back(static_cast<char>(letter));
    }
    by_rank.emplace_back();
    for (std::size_t text = 0; text + 2 < texts.size(); text += 2) by_rank.back()[texts[text]] = texts[text + 1];
  }
  const auto text_of = [](const std::map<std::string, std::string>& of, const std::string& name) {
    const auto found = of.find(name);
    return found == of.end() ? "none" : str('"', found->second, '"');
  };
  for (std::size_t rank = 1; rank < by_rank.size(); ++rank) {
    std::map<std::string, std::string> names = by_rank.front();
    names.insert(by_rank[rank].begin(), by_rank[rank].end());
    for (const auto& [name, ignored] : names) {
      const std::string expected = text_of(by_rank.front(), name), got = text_of(by_rank[rank], name);
      if (expected != got) {
        refuse<ConfigError>(component, name, str(expected, ", as on process 0"), str(got, " on process ", rank));
      }
    }
  }
}

/// Checks that all processes begin a run at the same state, with the same weights and the same settings.
///
/// Cost: reads the weights to the host. Errors: as of `require_equal`.
template <ProcessGroup G, HasState D>
void require_same_start(G& group, D& denoiser, const TrainState& state, std::map<std::string, std::string> settings) {
  describe(state, [&](std::string_view name, std::uint64_t value, std::string_view) {
    settings[str("state.", name)] = str(value);
  });
  using B = typename D::Backend;
  denoiser.visit_state([&](std::string_view name, typename B::Tensor& value) {
    const std::vector<double> values = B::to_host(value);
    const std::string_view bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double));
    settings[str("weights.", name)] = str(to_string(B::shape(value)), ' ', padded(crc32c(bytes), 8, 16));
  });
  require_equal(group, "run", settings);
}

}  // namespace patchdiff
