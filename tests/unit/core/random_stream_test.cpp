// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <set>
#include <span>
#include <vector>

#include <patchdiff/core/normal_kernel.hpp>
#include <patchdiff/core/philox.hpp>
#include <patchdiff/core/random_stream.hpp>

#include "support/catch.hpp"
#include "support/statistics.hpp"

namespace patchdiff {
namespace {

using Words = std::array<std::uint32_t, 4>;

std::vector<double> normals_of(const RandomStream& stream, std::size_t count, std::uint64_t first = 0) {
  std::vector<double> values(count);
  stream.normals(std::span(values), first);
  return values;
}

double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); }

TEST_CASE("philox gives the published known answers") {
  CHECK(philox({0, 0, 0, 0}, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({~0U, ~0U, ~0U, ~0U}, ~std::uint64_t{0}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  static_assert(philox({0, 0, 0, 0}, 0)[0] == 0x6627e8d5);
}

TEST_CASE("random streams are pure functions of key, purpose, step, sample and index") {
  const RandomStream stream({7}, Purpose::sigma, 3, 5);
  CHECK(stream.block(9) == RandomStream({7}, Purpose::sigma, 3, 5).block(9));
  const auto low = stream.block(4);
  CHECK(stream.bits(8) == (std::uint64_t{low[1]} << 32 | low[0]));
  CHECK(stream.bits(9) == (std::uint64_t{low[3]} << 32 | low[2]));

  // Each part of the index alone changes the numbers, in its high bits too: 64-bit words of equal streams would be
  // equal.
  std::set<std::uint64_t> seen;
  std::size_t drawn = 0;
  const auto draw = [&](const RandomStream& other, std::uint64_t index) {
    seen.insert(other.bits(index));
    ++drawn;
  };
  draw(stream, 0);
  for (const unsigned bit : {0U, 31U, 32U, 63U}) {
    draw(RandomStream({7 ^ std::uint64_t{1} << bit}, Purpose::sigma, 3, 5), 0);
  }
  for (const unsigned bit : {0U, 31U, 32U, 43U}) {
    draw(RandomStream({7}, Purpose::sigma, 3 ^ std::uint64_t{1} << bit, 5), 0);
  }
  for (const unsigned bit : {0U, 31U}) draw(RandomStream({7}, Purpose::sigma, 3, 5 ^ std::uint64_t{1} << bit), 0);
  for (const unsigned bit : {0U, 1U, 33U, 44U}) draw(stream, std::uint64_t{1} << bit);
  for (const Purpose purpose :
       {Purpose::patch_size, Purpose::place, Purpose::training_noise, Purpose::label_dropout, Purpose::dropout,
        Purpose::initial_weights, Purpose::initial_noise, Purpose::solver_noise, Purpose::data_order, Purpose::probe,
        Purpose::dequantisation, Purpose::window_shift, Purpose::augmentation, Purpose::metric_subset,
        Purpose::resample}) {
    draw(RandomStream({7}, purpose, 3, 5), 0);
  }
  CHECK(seen.size() == drawn);
}

TEST_CASE("a fill of normal numbers may be split anywhere") {
  const RandomStream stream({11}, Purpose::training_noise, 2, 1);
  const std::vector<double> whole = normals_of(stream, 115);
  for (std::size_t split = 0; split <= whole.size(); ++split) {
    std::vector<double> parts(whole.size());
    stream.normals(std::span(parts).first(split));
    stream.normals(std::span(parts).subspan(split), split);
    CHECK(parts == whole);
  }
  std::vector<float> floats(whole.size());
  stream.normals(std::span(floats));
  for (std::size_t i = 0; i < whole.size(); ++i) CHECK(floats[i] == static_cast<float>(whole[i]));
}

TEST_CASE("normals are Box-Muller on pairs of words, to the accuracy of double, by both ways of compiling them") {
  const RandomStream stream({11}, Purpose::training_noise, (std::uint64_t{5} << 32) + 3, 9);
  for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{4} << 32}) {
    const std::vector<double> values = normals_of(stream, 4096, first);
    double worst = 0;
    for (std::size_t i = 0; i < values.size(); i += 2) {
      const auto words = stream.block((first + i) / 4);
      const double radius = std::sqrt(-2 * std::log((words[i % 4] + 0.5) * 0x1p-32));
      const double angle = 2 * std::numbers::pi * (words[i % 4 + 1] * 0x1p-32);
      worst = std::max(
          {worst, std::abs(values[i] - radius * std::cos(angle)), std::abs(values[i + 1] - radius * std::sin(angle))});
    }
    CHECK(worst < 1e-14);
  }
  constexpr std::size_t groups = 100;
  std::vector<double> chosen(groups * normal_kernel::group), plain(chosen.size());
  const normal_kernel::Counter counter{.key = 7, .sample = 1, .step = 2, .high = 3};
  normal_kernel::normals(counter, 8, groups, chosen.data());
  normal_kernel::normals_body(counter, 8, groups, plain.data());
  for (std::size_t i = 0; i < chosen.size(); ++i) CHECK(std::abs(chosen[i] - plain[i]) < 1e-14);
}

TEST_CASE("the kernel of normals is right at the ends of its arguments") {
  for (const std::uint64_t word :
       {0x0U, 0x1U, 0x1FFFFFFFU, 0x20000000U, 0x3FFFFFFFU, 0x40000000U, 0x60000000U, 0x7FFFFFFFU, 0x80000000U,
        0xA0000000U, 0xB504F333U, 0xC0000000U, 0xE0000000U, 0xFFFFFFFFU}) {
    CAPTURE(word);
    normal_kernel::Doubles square, root, cosine, sine;
    const normal_kernel::Words words = normal_kernel::Words{} + word;
    normal_kernel::minus_two_log(words, square);
    normal_kernel::root(square, root);
    normal_kernel::cosine_and_sine(words, cosine, sine);
    const double expected = -2 * std::log((static_cast<double>(word) + 0.5) * 0x1p-32);
    CHECK(std::abs(square[0] / expected - 1) < 1e-15);
    CHECK(std::abs(root[0] / std::sqrt(expected) - 1) < 1e-15);
    const double angle = 2 * std::numbers::pi * (static_cast<double>(word) * 0x1p-32);
    CHECK(std::abs(cosine[0] - std::cos(angle)) < 2e-15);
    CHECK(std::abs(sine[0] - std::sin(angle)) < 2e-15);
  }
}

// False-alarm rate: 5.7e-7 for each of the four moments, 9e-7 for the distribution.
TEST_CASE("normals have the moments and the distribution of unit normal numbers") {
  constexpr std::size_t count = 1 << 18;
  const std::vector<double> values = normals_of(RandomStream({1}, Purpose::training_noise, 0, 0), count);
  std::vector<double> powers = values;
  const std::array<double, 4> means{0, 1, 0, 3};
  const std::array<double, 4> variances{1, 2, 15, 96};  // of z, z^2, z^3, z^4
  for (std::size_t power = 0; power < 4; ++power) {
    CAPTURE(power);
    CHECK(z_of_mean(powers, means[power], std::sqrt(variances[power])) < largest_z);
    for (std::size_t i = 0; i < count; ++i) powers[i] *= values[i];
  }
  CHECK(kolmogorov(values, normal_cdf) < largest_kolmogorov);
}

// False-alarm rate: 5.7e-7 for each correlation.
TEST_CASE("normals of neighbouring indices, samples, steps, seeds and purposes are uncorrelated") {
  constexpr std::size_t count = 1 << 16;
  const std::vector<double> values = normals_of(RandomStream({1}, Purpose::training_noise, 0, 0), count);
  const std::vector<std::vector<double>> others{normals_of(RandomStream({1}, Purpose::training_noise, 0, 0), count, 1),
                                                normals_of(RandomStream({1}, Purpose::training_noise, 0, 0), count, 2),
                                                normals_of(RandomStream({1}, Purpose::training_noise, 0, 1), count),
                                                normals_of(RandomStream({1}, Purpose::training_noise, 1, 0), count),
                                                normals_of(RandomStream({2}, Purpose::training_noise, 0, 0), count),
                                                normals_of(RandomStream({1}, Purpose::solver_noise, 0, 0), count)};
  for (const std::vector<double>& other : others) {
    std::vector<double> products(count);
    for (std::size_t i = 0; i < count; ++i) products[i] = values[i] * other[i];
    CHECK(z_of_mean(products, 0, 1) < largest_z);
  }
}

// False-alarm rate: 9e-7.
TEST_CASE("uniform numbers are uniform in (0, 1), both ends excluded") {
  const RandomStream stream({3}, Purpose::sigma, 0, 0);
  std::vector<double> values;
  for (std::uint64_t i = 0; i < 100'000; ++i) values.push_back(stream.uniform(i));
  for (const double value : values) REQUIRE((value > 0 && value < 1));
  CHECK(kolmogorov(values, [](double u) { return u; }) < largest_kolmogorov);
}

// False-alarm rate: about 1e-6 for each count.
TEST_CASE("below draws every integer equally often") {
  for (const std::uint64_t count : {2U, 3U, 7U, 49U, 100U}) {
    CAPTURE(count);
    const RandomStream stream({5}, Purpose::place, 0, count);
    std::vector<double> counts(count);
    constexpr std::uint64_t draws = 100'000;
    for (std::uint64_t i = 0; i < draws; ++i) {
      const std::uint64_t drawn = stream.below(count, i);
      REQUIRE(drawn < count);
      ++counts[drawn];
    }
    CHECK(chi_square(counts, static_cast<double>(draws) / static_cast<double>(count)) < largest_chi_square(count));
  }
  CHECK(RandomStream({5}, Purpose::place, 0, 0).below(1, 0) == 0);
}

}  // namespace
}  // namespace patchdiff
