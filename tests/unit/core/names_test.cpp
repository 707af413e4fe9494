// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/core/nearest_name.hpp>
#include <patchdiff/core/precision.hpp>

#include "support/catch.hpp"

namespace patchdiff {
namespace {

TEST_CASE("The edit distance counts letters inserted, deleted and replaced") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("batch", "batch") == 0);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("sitting", "kitten") == 3);
  CHECK(edit_distance("ab", "ba") == 2);
}

TEST_CASE("The nearest name is the one with the fewest changes, the first of equals") {
  const std::vector<std::string> known{"batch", "seed", "dropout", "botch"};
  CHECK(nearest_name("bath", known) == "batch");
  CHECK(nearest_name("drop_out", known) == "dropout");
  CHECK(nearest_name("b*tch", known) == "batch");
  CHECK(nearest_name("x", {}).empty());
}

TEST_CASE("The values of an enumeration and their names are one list") {
  CHECK(name_of(Precision::bfloat16) == "bfloat16");
  CHECK(value_named<Precision>("float32") == Precision::float32);
  CHECK_FALSE(value_named<Precision>("float64"));
  CHECK(all_names<Precision>() == std::vector<std::string>{"float32", "bfloat16", "float16"});
}

}  // namespace
}  // namespace patchdiff
