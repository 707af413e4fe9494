// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/nn/conditioning.hpp>

#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<float>;

TEST_CASE("class indices become one-hot rows") {
  const std::vector<std::int64_t> labels{2, 0};
  const B::Tensor rows = one_hot_labels<B>(labels, 3, {});
  CHECK(rows.shape == Shape{2, 3});
  CHECK(B::to_host(rows) == std::vector<double>{0, 0, 1, 1, 0, 0});
  CHECK(one_hot_labels<B>({}, 3, {}).shape == Shape{0, 3});
}

TEST_CASE("class indices out of range are refused") {
  CHECK_ERROR(DataError, "one_hot_labels: labels: expected values in [0, 3), got 3 at sample 1",
              one_hot_labels<B>(std::vector<std::int64_t>{0, 3}, 3, {}));
  CHECK_ERROR(DataError, "one_hot_labels: labels: expected values in [0, 3), got -1 at sample 0",
              one_hot_labels<B>(std::vector<std::int64_t>{-1}, 3, {}));
  CHECK_ERROR(ConfigError, "one_hot_labels: label_dim: expected at least 0, got -1",
              one_hot_labels<B>(std::vector<std::int64_t>{0}, -1, {}));
}

TEST_CASE("conditioning without labels keeps the rest, and joins sample by sample") {
  const Conditioning<B> labelled{.class_labels = tensor<B>({2, 2}, {1, 2, 3, 4}),
                                 .fields = tensor<B>({2, 1, 1, 1}, {5, 6})};
  const Conditioning<B> both = Conditioning<B>::concat(labelled, labelled.without_labels());
  CHECK(both.class_labels.value().shape == Shape{4, 2});
  CHECK(B::to_host(both.class_labels.value()) == std::vector<double>{1, 2, 3, 4, 0, 0, 0, 0});
  CHECK(B::to_host(both.fields.value()) == std::vector<double>{5, 6, 5, 6});
  CHECK_FALSE(both.augment_labels);
  CHECK_FALSE(Conditioning<B>{}.without_labels().class_labels);
  CHECK_ERROR(ShapeError,
              "Conditioning: concat: expected the same kinds of tensors in both, got one that only one of them has",
              Conditioning<B>::concat(labelled, {}));
}

}  // namespace
}  // namespace patchdiff
