// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/nn/any_network.hpp>

#include "custom_backend/pixelwise_network.hpp"
#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;

/// The same function under another type.
struct Other : host::PixelwiseNetwork<B> {
  explicit Other(host::PixelwiseNetwork<B> network) : host::PixelwiseNetwork<B>(std::move(network)) {}
  Other clone() const { return Other(host::PixelwiseNetwork<B>::clone()); }
};

using Any = AnyNetwork<host::PixelwiseNetwork<B>, Other>;

static_assert(TrainableNetwork<Any>);
static_assert(TrainableNetwork<AnyNetwork<Other>>);

host::PixelwiseNetwork<B> network() { return host::PixelwiseNetwork<B>({.in_channels = 3, .label_dim = 2}, {5}); }

template <class Net>
std::vector<double> gradients(Net net) {
  DenoiserWrapper denoiser{std::move(net), {.image = {1, 4, 4}}};
  const std::vector<double> sigma{0.5, 2};
  const Conditioning<B> told{.class_labels = random_tensor<B>({2, 2}, 3)};
  const auto record = denoiser.record(random_tensor<B>({2, 1, 4, 4}, 1), sigma, Places::whole({4, 4}, 2), told,
                                      {.training = true, .input_gradient = true});
  std::vector<double> all = B::to_host(record.denoised);
  const auto append = [&](const B::Tensor& more) {
    const std::vector<double> values = B::to_host(more);
    all.insert(all.end(), values.begin(), values.end());
  };
  append(denoiser.backward(record, random_tensor<B>({2, 1, 4, 4}, 2)).value());
  denoiser.visit_parameters([&](std::string_view, B::Tensor&, B::Tensor& gradient) { append(gradient); });
  return all;
}

TEST_CASE("whichever network it holds, AnyNetwork is that network") {
  const std::vector<double> expected = gradients(network());
  CHECK(gradients(Any(network())) == expected);
  CHECK(gradients(Any(Other(network()))) == expected);
  CHECK(gradients(Any(Other(network())).clone()) == expected);
  const Any any(network());
  CHECK(any.input_channels() == 3);
  CHECK(any.output_channels() == 1);
  CHECK(any.label_dim() == 2);
  CHECK(any.size_divisor() == 1);
}

TEST_CASE("code finds the network that AnyNetwork holds, and those that it may hold") {
  const auto held = [](const auto& net) {
    std::size_t size = 0;
    visit_network(net, [&]<class Net>(const Net&) { size = std::is_same_v<Net, Other> ? 2 : 1; });
    return size;
  };
  CHECK(held(Any(network())) == 1);
  CHECK(held(Any(Other(network()))) == 2);
  CHECK(held(Other(network())) == 2);
  std::vector<bool> kinds;
  for_each_network<Any>([&]<class Net>() { kinds.push_back(std::is_same_v<Net, Other>); });
  for_each_network<Other>([&]<class Net>() { kinds.push_back(std::is_same_v<Net, Other>); });
  CHECK(kinds == std::vector<bool>{false, true, true});
}

}  // namespace
}  // namespace patchdiff
