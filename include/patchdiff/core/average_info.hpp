// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include <patchdiff/core/named_enum.hpp>

namespace patchdiff {

/// Which average of a run's weights a model has.
enum class AverageKind {
  unknown,   ///< its file does not say
  none,      ///< the weights themselves
  halflife,  ///< exponential, as of EMA
  power,     ///< by a power function, as of PowerEMA
};

constexpr std::array<NamedValue<AverageKind>, 4> value_names(AverageKind) noexcept {
  return {{{AverageKind::unknown, "unknown"},
           {AverageKind::none, "none"},
           {AverageKind::halflife, "halflife"},
           {AverageKind::power, "power"}}};
}

/// What a model's weights are an average of; what does not belong to the kind is 0.
struct AverageInfo {
  AverageKind kind = AverageKind::none;
  double halflife_images = 0;  ///< images after which a weight's share has halved
  double rampup_ratio = 0;     ///< at most this share of the images seen was the half-life; 0: whatever that was
  double relative_width = 0;   ///< of the power function, see PowerProfile
  std::uint64_t images = 0;    ///< images seen by then

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("kind", self.kind, "which average of a run's weights the model has");
    visit("halflife_images", self.halflife_images, "images after which a weight's share has halved");
    visit("rampup_ratio", self.rampup_ratio, "at most this share of the images seen was the half-life, 0: any");
    visit("relative_width", self.relative_width, "deviation of the power function's weight, in shares of the run");
    visit("images", self.images, "images seen by then");
  }

  friend bool operator==(const AverageInfo&, const AverageInfo&) = default;
};

}  // namespace patchdiff
