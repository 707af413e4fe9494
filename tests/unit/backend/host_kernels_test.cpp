// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <patchdiff/backend/host_kernels.hpp>
#include <patchdiff/core/places.hpp>

#include "support/catch.hpp"

namespace patchdiff {
namespace {

using Pixels = std::array<std::uint8_t, 4>;

TEST_CASE("coordinates of a patch without pixels write nothing") {
  for (const ImageSize patch : {ImageSize{0, 2}, ImageSize{2, 0}, ImageSize{0, 0}}) {
    std::array<float, 4> out{7, 7, 7, 7};
    host_kernels::coordinate_planes(Place::at(1, 0).to_image, patch, {3, 4}, out.data());
    CHECK(out == std::array<float, 4>{7, 7, 7, 7});
  }
}

constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min(),
                       most = std::numeric_limits<std::int64_t>::max();

// As constants, since these may not overflow.
static_assert(host_kernels::Overlap(least, 2, 3).empty() && host_kernels::Overlap(most, 2, 3).empty());
static_assert(host_kernels::Overlap(-1, 2, 3).begin == 1 && host_kernels::Overlap(-1, 2, 3).end == 2);
static_assert(host_kernels::Overlap(2, 2, 3).begin == 0 && host_kernels::Overlap(2, 2, 3).end == 1);

TEST_CASE("a patch at the ends of the integers lies outside") {
  const Pixels image{1, 2, 3, 4};
  for (const std::int64_t far : {least, most - 1, most}) {
    for (const Place& place : {Place::at(far, 0), Place::at(0, far), Place::at(far, far)}) {
      Pixels patch{9, 9, 9, 9};
      host_kernels::crop_plane(reinterpret_cast<const std::byte*>(image.data()), {2, 2}, place, {2, 2}, 1,
                               reinterpret_cast<std::byte*>(patch.data()));
      CHECK(patch == Pixels{});
      std::array<float, 4> sum{1, 2, 3, 4};
      host_kernels::accumulate_plane(sum.data(), {2, 2}, place, {2, 2}, sum.data());
      CHECK(sum == std::array<float, 4>{1, 2, 3, 4});
    }
  }
}

}  // namespace
}  // namespace patchdiff
