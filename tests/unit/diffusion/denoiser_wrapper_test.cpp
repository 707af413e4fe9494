// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/denoiser.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>

#include "custom_backend/pixelwise_network.hpp"
#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;
using Net = host::PixelwiseNetwork<B>;

static_assert(TrainableNetwork<Net>);
static_assert(Denoiser<DenoiserWrapper<Net>> && Denoiser<DenoiserWrapper<std::reference_wrapper<Net>>>);

const std::vector<double> sigma{0.3, 2.0};
const ImageShape image{2, 7, 9};
const Places places{{3, 4}, {Place::at(1, 2), Place::at(4, 5)}};

/// A model of two channels with fields and labels.
host::PixelwiseOptions options(std::int64_t out_channels = 2) {
  return {.in_channels = 2 + 2 + 1, .out_channels = out_channels, .label_dim = 3};
}
Conditioning<B> conditioning() {
  return {.class_labels = random_tensor<B>({2, 3}, 8), .fields = random_tensor<B>({2, 1, 3, 4}, 9)};
}
B::Tensor noisy() { return random_tensor<B>({2, 2, 3, 4}, 7); }

void check_close(const B::Tensor& got, const B::Tensor& expected, double margin = 1e-14) {
  REQUIRE(got.shape == expected.shape);
  for (std::size_t i = 0; i < got.values.size(); ++i) CHECK(got.values[i] == Approx(expected.values[i]).margin(margin));
}

TEST_CASE("D = c_skip x + c_out F(cat(c_in x, coordinates, fields), c_noise, labels), term by term") {
  const EDM edm{.sigma_data = 0.7};
  const DenoiserWrapper denoiser{Net(options(), {1}), {.image = image, .formulation = edm}};
  const B::Tensor x = noisy();

  std::vector<double> skip, out, in, noise;
  for (const double level : sigma) {
    const Preconditioning c = edm.preconditioning(level);
    skip.push_back(c.c_skip);
    out.push_back(c.c_out);
    in.push_back(c.c_in);
    noise.push_back(c.c_noise);
  }
  const B::Tensor coordinates = B::coordinate_grid(places, image.size(), {});
  const B::Tensor input = B::concat(std::vector{B::scale(in, x), coordinates, conditioning().fields.value()}, 1);
  const B::Tensor output = Net(options(), {1})(input, noise, conditioning(), {});
  check_close(denoiser(x, sigma, places, conditioning()), B::combine(skip, x, out, output));
}

TEST_CASE("recording gives the same estimate, and forwards the pass") {
  DenoiserWrapper denoiser{Net(options(), {1}), {.image = image, .precision = Precision::bfloat16}};
  const Pass pass{.training = true, .input_gradient = true, .key = {5}, .step = 6, .first_sample = 7};
  const auto record = denoiser.record(noisy(), sigma, places, conditioning(), pass);
  CHECK(B::to_host(record.denoised) == B::to_host(denoiser(noisy(), sigma, places, conditioning())));
  const Pass& seen = denoiser.network().last_pass();
  CHECK((seen.training && seen.input_gradient && seen.key == RandomKey{5} && seen.step == 6 && seen.first_sample == 7));
  CHECK(seen.precision == Precision::bfloat16);
}

/// A network that keeps the passes of its plain calls.
struct Listening : Net {
  using Net::Net;
  Tensor operator()(const Tensor& input, std::span<const double> c_noise, const Conditioning<B>& told,
                    const Pass& pass) const {
    passes.push_back(pass);
    return Net::operator()(input, c_noise, told, pass);
  }
  mutable std::vector<Pass> passes{};
};

TEST_CASE("denoising runs the network in evaluation mode") {
  const DenoiserWrapper denoiser{Listening(options()), {.image = image, .precision = Precision::bfloat16}};
  denoiser(noisy(), sigma, places, conditioning());
  REQUIRE(denoiser.network().passes.size() == 1);
  CHECK_FALSE(denoiser.network().passes[0].training);
  CHECK(denoiser.network().passes[0].precision == Precision::bfloat16);
}

TEST_CASE("the gradients of parameters and input are derivatives") {
  for (const std::int64_t out_channels : {2, 4}) {
    CAPTURE(out_channels);
    DenoiserWrapper denoiser{Net(options(out_channels), {1}), {.image = image}};
    B::Tensor x = noisy();
    const B::Tensor cotangent = random_tensor<B>({2, 2, 3, 4}, 10);
    const auto value = [&] { return inner_product<B>(denoiser(x, sigma, places, conditioning()), cotangent); };
    const auto slope = [&](double& number) {
      const double before = number;
      const double derivative = central_difference([&](double step) {
        number = before + step;
        return value();
      });
      number = before;
      return derivative;
    };

    const auto record = denoiser.record(x, sigma, places, conditioning(), {.input_gradient = true});
    const std::optional<B::Tensor> gradient = denoiser.backward(record, cotangent);
    REQUIRE(gradient.has_value());
    for (std::size_t i = 0; i < x.values.size(); ++i) {
      CHECK(gradient->values[i] == Approx(slope(x.values[i])).epsilon(1e-6).margin(1e-8));
    }
    denoiser.visit_parameters([&](std::string_view, B::Tensor& parameter, B::Tensor& of_parameter) {
      for (std::size_t i = 0; i < parameter.values.size(); ++i) {
        CHECK(of_parameter.values[i] == Approx(slope(parameter.values[i])).epsilon(1e-6).margin(1e-8));
      }
    });
  }
}

TEST_CASE("backward multiplies by its factor and adds to what is there") {
  const B::Tensor cotangent = random_tensor<B>({2, 2, 3, 4}, 10);
  const auto gradients = [&](std::vector<double> factors) {
    DenoiserWrapper denoiser{Net(options(), {1}), {.image = image}};
    const auto record = denoiser.record(noisy(), sigma, places, conditioning(), {});
    for (const double factor : factors) CHECK_FALSE(denoiser.backward(record, cotangent, factor));
    std::vector<double> all;
    denoiser.visit_parameters([&](auto, B::Tensor&, B::Tensor& gradient) {
      all.insert(all.end(), gradient.values.begin(), gradient.values.end());
    });
    return all;
  };
  const std::vector<double> once = gradients({1}), three = gradients({0.5, 2.5});
  for (std::size_t i = 0; i < once.size(); ++i) CHECK(three[i] == Approx(3 * once[i]).margin(1e-13));

  DenoiserWrapper denoiser{Net(options(), {1}), {.image = image}};
  const auto record = denoiser.record(noisy(), sigma, places, conditioning(), {.input_gradient = true});
  const std::optional<B::Tensor> one = denoiser.backward(record, cotangent),
                                 half = denoiser.backward(record, cotangent, 0.5);
  for (std::size_t i = 0; i < one->values.size(); ++i) CHECK(half->values[i] == Approx(one->values[i] / 2));
}

TEST_CASE("coordinate channels of the output are dropped, with zero gradient") {
  DenoiserWrapper denoiser{Net(options(4), {1}), {.image = image}};
  const auto record = denoiser.record(noisy(), sigma, places, conditioning(), {});
  CHECK(record.denoised.shape == Shape{2, 2, 3, 4});
  denoiser.backward(record, random_tensor<B>({2, 2, 3, 4}, 10));
  denoiser.visit_parameters([&](std::string_view name, B::Tensor&, B::Tensor& gradient) {
    if (name != "outer") return;
    const std::size_t of_image = gradient.values.size() / 2;  // two of four output channels
    for (std::size_t i = 0; i < of_image; ++i) CHECK(gradient.values[i] != 0);
    for (std::size_t i = of_image; i < gradient.values.size(); ++i) CHECK(gradient.values[i] == 0);
  });
}

TEST_CASE("a wrapper owns its network, or refers to it; a clone has its own") {
  Net net(options(), {1});
  DenoiserWrapper outside{std::ref(net), {.image = image}};
  DenoiserWrapper copy = outside.clone();
  const B::Tensor before = outside(noisy(), sigma, places, conditioning());
  net.visit_state([](auto, B::Tensor& value) { B::set_zero(value); });
  CHECK(B::to_host(outside(noisy(), sigma, places, conditioning())) != B::to_host(before));
  CHECK(B::to_host(copy(noisy(), sigma, places, conditioning())) == B::to_host(before));
  CHECK(copy.image() == image);
  CHECK(copy.label_dim() == 3);
  CHECK(copy.formulation().name() == "edm");
}

TEST_CASE("a whole image of any size and channels is a patch at its corner") {
  const DenoiserWrapper denoiser{Net({.in_channels = 5 + 2, .out_channels = 5}), {.image = {5, 1, 3}}};
  CHECK(denoiser(filled<B>({1, 5, 1, 3}, 1), std::vector{1.0}, Places::whole({1, 3}, 1)).shape == Shape{1, 5, 1, 3});
}

TEST_CASE("DenoiserWrapper refuses networks that do not fit the image") {
  const auto wrap = [](host::PixelwiseOptions network, ImageShape shape) {
    return DenoiserWrapper{Net(network), {.image = shape}};
  };
  CHECK_ERROR(ConfigError, "DenoiserWrapper: image: expected at least one channel, got 0x8x8", wrap({}, {0, 8, 8}));
  CHECK_ERROR(ConfigError, "CoordEncoder: image: expected at least one pixel, got 8x0", wrap({}, {1, 8, 0}));
  CHECK_ERROR(
      ConfigError,
      "DenoiserWrapper: network: expected at least 5 input channels, 3 of the image and 2 of coordinates, got 4",
      wrap({.in_channels = 4, .out_channels = 3}, {3, 8, 8}));
  CHECK_ERROR(ConfigError, "DenoiserWrapper: network: expected 3 or 5 output channels, got 4",
              wrap({.in_channels = 5, .out_channels = 4}, {3, 8, 8}));
}

TEST_CASE("DenoiserWrapper refuses arguments that do not fit the model") {
  const DenoiserWrapper denoiser{Net(options()), {.image = image}};
  const B::Tensor x = noisy();
  const auto run = [&](const B::Tensor& input, const std::vector<double>& levels, const Places& at,
                       const Conditioning<B>& told) { return denoiser(input, levels, at, told); };
  CHECK_ERROR(ShapeError, "DenoiserWrapper: x: expected rank 4, [N, C, h, w], got [2, 3, 4]",
              run(filled<B>({2, 3, 4}, 0), sigma, places, conditioning()));
  CHECK_ERROR(ShapeError, "DenoiserWrapper: x: expected 2 channels, got [2, 3, 3, 4]",
              run(filled<B>({2, 3, 3, 4}, 0), sigma, places, conditioning()));
  CHECK_ERROR(ShapeError, "DenoiserWrapper: x: expected at least one pixel, got [2, 2, 0, 4]",
              run(filled<B>({2, 2, 0, 4}, 0), sigma, Places::whole({0, 4}, 2), conditioning()));
  CHECK_ERROR(ShapeError, "DenoiserWrapper: x: expected at least one pixel, got [2, 2, 3, 0]",
              run(filled<B>({2, 2, 3, 0}, 0), sigma, Places::whole({3, 0}, 2), conditioning()));
  CHECK_ERROR(ShapeError, "DenoiserWrapper: sigma: expected 2 values, got 3",
              run(x, {1, 1, 1}, places, conditioning()));
  CHECK_ERROR(DataError, "DenoiserWrapper: sigma: expected finite values > 0, got 0",
              run(x, {1, 0}, places, conditioning()));
  CHECK_ERROR(DataError, "DenoiserWrapper: sigma: expected finite values > 0, got nan",
              run(x, {std::numeric_limits<double>::quiet_NaN(), 1}, places, conditioning()));
  CHECK_ERROR(DataError, "DenoiserWrapper: sigma: expected finite values > 0, got inf",
              run(x, {std::numeric_limits<double>::infinity(), 1}, places, conditioning()));
  CHECK_ERROR(ShapeError, "DenoiserWrapper: places: expected 2 patches of 3x4, got 1 of 3x4",
              run(x, sigma, Places::whole({3, 4}, 1), conditioning()));
  CHECK_ERROR(ShapeError, "DenoiserWrapper: places: expected 2 patches of 3x4, got 2 of 4x3",
              run(x, sigma, Places::whole({4, 3}, 2), conditioning()));

  Conditioning<B> told = conditioning();
  told.class_labels.reset();
  CHECK_ERROR(ShapeError, "DenoiserWrapper: class_labels: expected [2, 3], got none", run(x, sigma, places, told));
  told.class_labels = filled<B>({2, 4}, 0);
  CHECK_ERROR(ShapeError, "DenoiserWrapper: class_labels: expected [2, 3], got [2, 4]", run(x, sigma, places, told));
  told = conditioning();
  told.fields.reset();
  CHECK_ERROR(ShapeError, "DenoiserWrapper: fields: expected [2, 1, 3, 4], got none", run(x, sigma, places, told));
  told.fields = filled<B>({2, 1, 7, 9}, 0);
  CHECK_ERROR(ShapeError, "DenoiserWrapper: fields: expected [2, 1, 3, 4], got [2, 1, 7, 9]",
              run(x, sigma, places, told));

  const DenoiserWrapper plain{Net({.in_channels = 4, .out_channels = 2, .size_divisor = 4}), {.image = {2, 8, 8}}};
  const Places square = Places::whole({4, 4}, 1);
  CHECK_ERROR(ShapeError,
              "DenoiserWrapper: x: expected height and width divisible by 4, as the network needs, got [1, 2, 4, 6]",
              plain(filled<B>({1, 2, 4, 6}, 0), std::vector{1.0}, square));
  CHECK_ERROR(ShapeError, "DenoiserWrapper: class_labels: expected none, the network takes no labels, got [1, 3]",
              plain(filled<B>({1, 2, 4, 4}, 0), std::vector{1.0}, square, {.class_labels = filled<B>({1, 3}, 0)}));
  CHECK_ERROR(ShapeError,
              "DenoiserWrapper: augment_labels: expected none, the network takes no augmentation labels, got [1, 9]",
              plain(filled<B>({1, 2, 4, 4}, 0), std::vector{1.0}, square, {.augment_labels = filled<B>({1, 9}, 0)}));
  CHECK_ERROR(ShapeError, "DenoiserWrapper: fields: expected none, got [1, 1, 4, 4]",
              plain(filled<B>({1, 2, 4, 4}, 0), std::vector{1.0}, square, {.fields = filled<B>({1, 1, 4, 4}, 0)}));

  DenoiserWrapper recording{Net(options()), {.image = image}};
  CHECK_ERROR(ShapeError, "DenoiserWrapper: sigma: expected 2 values, got 1",
              recording.record(x, std::vector{1.0}, places, conditioning(), {}));
}

/// A network that says it returns coordinates too, and does not.
struct Misleading : Net {
  using Net::Net;
  std::int64_t output_channels() const noexcept { return 4; }
};

TEST_CASE("DenoiserWrapper refuses an output that is not what the network declared") {
  const DenoiserWrapper denoiser{Misleading(options()), {.image = image}};
  CHECK_ERROR(ShapeError, "DenoiserWrapper: network output: expected [2, 4, 3, 4], got [2, 2, 3, 4]",
              denoiser(noisy(), sigma, places, conditioning()));
}

}  // namespace
}  // namespace patchdiff
