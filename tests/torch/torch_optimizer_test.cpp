// SPDX-License-Identifier: Apache-2.0
#include <limits>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <torch/optim/adam.h>
#include <torch/optim/sgd.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/training/torch/torch_optimizer.hpp>

#include "support/torch_catch.hpp"

#include "support/errors.hpp"

namespace patchdiff {
namespace {

/// Two parameters with a gradient of ones, and nothing else of a network.
struct Parameters {
  at::Tensor first = made(), second = made();

  static at::Tensor made() {
    at::Tensor value = at::zeros({2}).requires_grad_();
    value.mutable_grad() = at::ones({2});
    return value;
  }
  template <class Visitor>
  void visit_parameters(Visitor&& visit) {
    visit(std::string_view("first"), first, first.mutable_grad());
    visit(std::string_view("second"), second, second.mutable_grad());
  }
};

TorchOptimizer sgd_of(std::vector<at::Tensor> parameters) {
  return TorchOptimizer(std::make_unique<torch::optim::SGD>(std::move(parameters), torch::optim::SGDOptions(0.5)));
}

TEST_CASE("an optimiser may be made for a part of the parameters, but not for others") {
  Parameters net, other;
  TorchOptimizer head = sgd_of({net.second});
  head.step(net, at::ones({}));
  CHECK(at::equal(net.first, at::zeros({2})));
  CHECK(at::equal(net.second, at::full({2}, -0.5)));
  CHECK_ERROR(ConfigError, "TorchOptimizer: net: expected parameters that the optimiser was made for, got others",
              head.step(other, at::ones({})));
  CHECK(at::equal(net.second, at::full({2}, -0.5)));
}

TEST_CASE("TorchOptimizer refuses a null pointer and rates that cannot work") {
  CHECK_ERROR(ConfigError, "TorchOptimizer: optimizer: expected an optimiser, got null", TorchOptimizer(nullptr));
  Parameters net;
  TorchOptimizer adam(std::make_unique<torch::optim::Adam>(std::vector<at::Tensor>{net.first}));
  adam.set_learning_rate(0.25);
  CHECK_ERROR(ConfigError, "TorchOptimizer: learning_rate: expected a finite value >= 0, got nan",
              adam.set_learning_rate(std::numeric_limits<double>::quiet_NaN()));
  CHECK_ERROR(ConfigError, "TorchOptimizer: learning_rate: expected a finite value >= 0, got inf",
              adam.set_learning_rate(std::numeric_limits<double>::infinity()));
  CHECK_ERROR(ConfigError, "TorchOptimizer: learning_rate: expected a finite value >= 0, got -1",
              adam.set_learning_rate(-1));
  CHECK(adam.optimizer().param_groups()[0].options().get_lr() == 0.25);
}

}  // namespace
}  // namespace patchdiff
