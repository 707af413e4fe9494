// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/parallel/bucketed_sum.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <fmt/core.h>

#include <patchdiff/backend/eigen/eigen_backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/nn/eigen/small_unet.hpp>
#include <patchdiff/parallel/single_process.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = EigenBackend<double>;

SmallUNet<double> network(std::int64_t model_channels) {
  return SmallUNet<double>({.in_channels = 3, .out_channels = 1, .model_channels = model_channels}, {1}, {});
}

TEST_CASE("a gradient that is not its parameter's is refused before anything is written") {
  SmallUNet<double> net = network(8), wide = network(16);
  std::vector<B::Tensor> gradients;
  net.visit_parameters([&](auto, B::Tensor& value, B::Tensor& gradient) {
    gradient = random_tensor<B>(value.shape(), gradients.size());
    gradients.push_back(B::clone(gradient));
  });
  SingleProcess group;
  BucketedSum<B, SingleProcess> sum(group, net, {.bytes = 1024});
  const std::size_t last = gradients.size() - 1;
  const std::string text = fmt::format("BucketedSum: gradient: expected {} elements of parameter {}, got [1000, 1000]",
                                       element_count(gradients[last].shape()), last);
  CHECK_ERROR(ShapeError, text, sum.add(last, B::zeros({1000, 1000}, {})));
  CHECK_ERROR(ConfigError,
              fmt::format("BucketedSum: parameter: expected a number below {}, got {}", last + 1, last + 1),
              sum.add(last + 1, gradients[last]));
  CHECK_THROWS_AS(sum.finish(wide), ShapeError);

  // What was refused counts for nothing: the parameter's own gradient is still to come, once.
  sum.add(last, gradients[last]);
  CHECK_ERROR(ConfigError,
              fmt::format("BucketedSum: add: expected one gradient of each parameter in a step, got another of "
                          "parameter {}",
                          last),
              sum.add(last, gradients[last]));
  sum.finish(net);
  std::size_t parameter = 0;
  net.visit_parameters([&](auto, B::Tensor&, B::Tensor& gradient) {
    CHECK(B::to_host(gradient) == B::to_host(gradients[parameter++]));
  });
}

}  // namespace
}  // namespace patchdiff
