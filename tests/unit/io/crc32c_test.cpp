// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/io/crc32c.hpp>

#include <string>

#include "support/catch.hpp"

using patchdiff::crc32c;

TEST_CASE("crc32c gives the published values") {
  std::string ascending, descending;
  for (int i = 0; i < 32; ++i) {
    ascending.push_back(static_cast<char>(i));
    descending.push_back(static_cast<char>(31 - i));
  }
  // RFC 3720, appendix B.4, and the check value of every catalogue of checksums.
  CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AA);
  CHECK(crc32c(std::string(32, '\xFF')) == 0x62A8AB43);
  CHECK(crc32c(ascending) == 0x46DD794E);
  CHECK(crc32c(descending) == 0x113FDB5C);
  CHECK(crc32c("123456789") == 0xE3069283);
  CHECK(crc32c("") == 0);
}
