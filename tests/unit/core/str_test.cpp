// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/philox.hpp>
#include <patchdiff/core/str.hpp>

#include "support/catch.hpp"

namespace patchdiff {
namespace {

TEST_CASE("str puts texts, letters and numbers one after another") {
  const std::string name = "sigma";
  CHECK(str() == "");
  CHECK(str(name, std::string_view(" of "), 'N', ": ", true, ", ", false) == "sigma of N: true, false");
  CHECK(str(std::uint8_t{7}, ' ', std::int8_t{-7}, ' ', short{3}, ' ', 4U) == "7 -7 3 4");
  CHECK(str(std::numeric_limits<std::int64_t>::min(), ' ', std::numeric_limits<std::uint64_t>::max()) ==
        "-9223372036854775808 18446744073709551615");
}

TEST_CASE("str writes numbers by as few digits as read back the same") {
  CHECK(str(1.0, ' ', -0.0, ' ', 100000.0, ' ', 0.0001, ' ', 0.00001, ' ', 1e15, ' ', 1e16) ==
        "1 -0 100000 0.0001 1e-05 1000000000000000 1e+16");
  CHECK(str(0.1F, ' ', 0.1, ' ', 1.0 / 3) == "0.1 0.1 0.3333333333333333");
  constexpr double infinity = std::numeric_limits<double>::infinity();
  CHECK(str(infinity, ' ', -infinity, ' ', std::numeric_limits<double>::quiet_NaN()) == "inf -inf nan");
}

TEST_CASE("str agrees with fmt on numbers of every size") {
  for (std::uint32_t draw = 0; draw < 50'000; ++draw) {
    const auto words = philox({draw, 0, 0, 0}, 2026);
    const double any = std::bit_cast<double>((std::uint64_t{words[0]} << 32) | words[1]);
    const double usual =
        std::ldexp(static_cast<double>(static_cast<std::int32_t>(words[2])), static_cast<int>(words[3] % 64) - 48);
    for (const double number : {any, usual, std::round(usual)}) {
      const std::string text = str(number);
      REQUIRE(text == fmt::format("{}", number));
      REQUIRE((std::isnan(number) || std::strtod(text.c_str(), nullptr) == number));
      REQUIRE(shortened(number, 4) == fmt::format("{:.4g}", number));
      REQUIRE(fixed(number, 2) == fmt::format("{:.2f}", number));
    }
    REQUIRE(str(static_cast<std::int32_t>(words[0])) == fmt::format("{}", static_cast<std::int32_t>(words[0])));
    REQUIRE(padded(words[1], 8, 16) == fmt::format("{:08x}", words[1]));
    REQUIRE(padded(words[1], 12) == fmt::format("{:012}", words[1]));
  }
}

TEST_CASE("join puts a separator between items") {
  CHECK(join(std::vector<std::int64_t>{2, 3, 64}, ", ") == "2, 3, 64");
  CHECK(join(std::vector<std::string>{"", ""}, "/") == "/");
  CHECK(join(std::vector<double>{}, ", ") == "");
  CHECK(join(std::vector<double>{0.5}, ", ") == "0.5");
}

TEST_CASE("padded keeps numbers that are wider") {
  CHECK(padded(1234, 3) == "1234");
  CHECK(padded(std::uint8_t{0}, 2, 16) == "00");
}

}  // namespace
}  // namespace patchdiff
