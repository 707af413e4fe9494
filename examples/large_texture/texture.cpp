// SPDX-License-Identifier: Apache-2.0
#include "texture.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/io/atomic_file.hpp>

namespace {

namespace pd = patchdiff;

/// Perlin's gradient noise, about -0.7 to 0.7, on a lattice of unit squares that repeats after `period` of them.
class GradientNoise {
 public:
  explicit GradientNoise(std::uint64_t seed) {
    const pd::RandomStream stream({seed}, pd::Purpose::initial_noise, 0, 0);
    for (std::uint64_t node = 0; node < period * period; ++node) {
      const double angle = 2 * std::numbers::pi * stream.uniform(node);
      gradients_.push_back({std::cos(angle), std::sin(angle)});
    }
  }

  double operator()(double x, double y) const {
    const double left = std::floor(x), top = std::floor(y);
    const auto corner = [&](double across, double down) {
      const auto column = static_cast<std::size_t>(static_cast<std::int64_t>(left + across)) % period;
      const auto row = static_cast<std::size_t>(static_cast<std::int64_t>(top + down)) % period;
      const Gradient& gradient = gradients_[row * period + column];
      return gradient.x * (x - left - across) + gradient.y * (y - top - down);
    };
    const auto smooth = [](double t) { return t * t * t * (t * (6 * t - 15) + 10); };
    const double across = smooth(x - left), down = smooth(y - top);
    return std::lerp(std::lerp(corner(0, 0), corner(1, 0), across), std::lerp(corner(0, 1), corner(1, 1), across),
                     down);
  }

 private:
  struct Gradient {
    double x, y;
  };
  static constexpr std::size_t period = 512;

  std::vector<Gradient> gradients_{};
};

/// The header of NPY 1.0, padded to 128 bytes.
std::string npy_header(std::int64_t side) {
  std::string text = fmt::format("{{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, {0}, {0}), }}", side);
  text.resize(117, ' ');
  return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + text + '\n';
}

}  // namespace

pd::ArrayLayout write_texture(const std::filesystem::path& path, std::int64_t side, std::uint64_t seed) {
  const GradientNoise noise(seed);
  const std::string header = npy_header(side);
  pd::AtomicFile file(path, "write_texture");
  file.write(header);
  std::vector<std::byte> pixels(static_cast<std::size_t>(side));
  for (std::int64_t row = 0; row < side; ++row) {
    const auto y = static_cast<double>(row), v = 2 * y / static_cast<double>(side - 1) - 1;
    for (std::int64_t column = 0; column < side; ++column) {
      const auto x = static_cast<double>(column), u = 2 * x / static_cast<double>(side - 1) - 1;
      const double bend = 8 * noise(x / 40, y / 40);
      const double field = noise((x + bend) / 14 + 100, (y + bend) / 14) + 0.4 * noise(x / 7, y / 7 + 200);
      const double vein = std::exp(-18 * field * field);  // bright where the field is 0
      const double level = 0.1 + 0.3 * std::cos(3 * (u * u + v * v));
      const double value = level + (0.6 + 0.25 * u) * (vein - 0.5);
      pixels[static_cast<std::size_t>(column)] =
          static_cast<std::byte>(std::clamp((value + 1) * 127.5 + 0.5, 0.0, 255.0));
    }
    file.write(std::span<const std::byte>(pixels));
  }
  file.commit();
  return {.image = {1, side, side}, .scalar = pd::ArrayScalar::uint8, .offset = header.size()};
}
