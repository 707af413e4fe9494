// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <patchdiff/backend/operations.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/log.hpp>
#include <patchdiff/diffusion/any_denoiser.hpp>
#include <patchdiff/diffusion/autoguided_denoiser.hpp>
#include <patchdiff/diffusion/denoiser.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/diffusion/differentiable_denoiser.hpp>
#include <patchdiff/diffusion/guided_denoiser.hpp>
#include <patchdiff/sampling/tiled_denoiser.hpp>

#include "custom_backend/pixelwise_network.hpp"
#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/gaussian_denoiser.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;

/// A denoiser of one-pixel images: x / (1 + sigma) + top + the label's first number; it counts calls and samples.
struct Counting {
  using Backend = B;
  struct Counts {
    std::size_t calls = 0, samples = 0;
  };

  B::Tensor operator()(const B::Tensor& x, std::span<const double> sigma, const Places& places,
                       const Conditioning<B>& conditioning) const {
    ++counts->calls;
    counts->samples += sigma.size();
    B::Tensor denoised = B::clone(x);
    for (std::size_t n = 0; n < sigma.size(); ++n) {
      denoised.values[n] = x.values[n] / (1 + sigma[n]) + static_cast<double>(places.at[n].top);
      if (labels > 0) denoised.values[n] += conditioning.class_labels.value().values[n];
    }
    return denoised;
  }
  ImageShape image() const { return {1, 9, 9}; }
  std::int64_t label_dim() const { return labels; }
  B::Device device() const { return {}; }

  std::int64_t labels = 1;
  std::shared_ptr<Counts> counts = std::make_shared<Counts>();
};

static_assert(Denoiser<Counting> && Denoiser<GuidedDenoiser<Counting>> && Denoiser<AnyDenoiser<B>>);
static_assert(Denoiser<GuidedDenoiser<AnyDenoiser<B>>>);

const std::vector<double> sigma{1, 3};
const Places places{{1, 1}, {Place::at(2, 0), Place::at(5, 0)}};
const Conditioning<B> labelled{.class_labels = tensor<B>({2, 1}, {10, 20})};
const B::Tensor x = tensor<B>({2, 1, 1, 1}, {4, 8});

TEST_CASE("the score of noisy Gaussian images, whole and patch alike") {
  const GaussianDenoiser<B> denoiser{.shape = {3, 8, 8}, .mean = 0.3, .deviation = 0.5};
  for (const ImageSize size : {ImageSize{8, 8}, ImageSize{2, 5}}) {
    const B::Tensor noisy = random_tensor<B>({2, 3, size.height, size.width}, 1);
    const B::Tensor slope = score(denoiser, noisy, sigma, Places::whole(size, 2));
    const std::size_t row = noisy.values.size() / 2;
    for (std::size_t i = 0; i < noisy.values.size(); ++i) {
      const double variance = 0.25 + sigma[i / row] * sigma[i / row];
      CHECK(slope.values[i] == Approx((0.3 - noisy.values[i]) / variance).epsilon(1e-12));
    }
  }
}

TEST_CASE("guidance moves from the null label's estimate towards the label's, in one call") {
  const Counting inner;
  // D with labels is {14, 27}, without them {4, 7}.
  const auto guided = [&](double scale) {
    *inner.counts = {};
    return B::to_host(GuidedDenoiser(inner, scale)(x, sigma, places, labelled));
  };
  CHECK(guided(2) == std::vector<double>{24, 47});
  CHECK((inner.counts->calls == 1 && inner.counts->samples == 4));
  CHECK(guided(0) == std::vector<double>{4, 7});
  CHECK(guided(-1) == std::vector<double>{-6, -13});
  CHECK(guided(1) == std::vector<double>{14, 27});
  CHECK((inner.counts->calls == 1 && inner.counts->samples == 2));
  const GuidedDenoiser denoiser(inner, 2);
  CHECK((denoiser.image() == inner.image() && denoiser.label_dim() == 1));
}

TEST_CASE("any denoiser behind one type gives the same, and copies share it") {
  const Counting inner;
  const AnyDenoiser<B> any(inner), copy = any;
  CHECK(B::to_host(any(x, sigma, places, labelled)) == B::to_host(inner(x, sigma, places, labelled)));
  CHECK(B::to_host(copy(x, sigma, places, labelled)) == B::to_host(any(x, sigma, places, labelled)));
  CHECK(inner.counts->calls == 4);
  CHECK((any.image() == inner.image() && any.label_dim() == 1 && any.device() == B::Device{}));
  CHECK(B::to_host(GuidedDenoiser(any, 2)(x, sigma, places, labelled)) == std::vector<double>{24, 47});
  const GaussianDenoiser<B> unlabelled{.shape = {1, 9, 9}};
  CHECK(AnyDenoiser<B>(unlabelled).label_dim() == 0);
}

TEST_CASE("outside of its interval, guidance is a plain call") {
  const Counting inner;
  const auto guided = [&](GuidanceInterval interval) {
    *inner.counts = {};
    return B::to_host(GuidedDenoiser(inner, 2, interval)(x, sigma, places, labelled));
  };
  CHECK(guided({.sigma_min = 3}) == std::vector<double>{14, 27});
  CHECK((inner.counts->calls == 1 && inner.counts->samples == 2));
  CHECK(guided({.sigma_max = 0.9}) == std::vector<double>{14, 27});
  CHECK((inner.counts->calls == 1 && inner.counts->samples == 2));
  CHECK(guided({.sigma_min = 1, .sigma_max = 3}) == std::vector<double>{14, 47});
  CHECK((inner.counts->calls == 1 && inner.counts->samples == 4));
  CHECK(guided({.sigma_max = 1}) == std::vector<double>{24, 27});
}

TEST_CASE("guidance by a null label that was never trained is said in the host's log") {
  struct Untrained : Counting {
    bool null_label_trained() const { return trained; }
    bool trained = false;
  };
  std::vector<std::string> messages;
  const Log log = [&](std::string_view message) { messages.emplace_back(message); };
  Untrained inner;
  GuidedDenoiser(inner, 2, {}, log);
  const AnyDenoiser<B> any(inner);
  GuidedDenoiser(any, 2, {}, log);
  const GuidedDenoiser once(inner, 1);
  GuidedDenoiser(once, 2, {}, log);
  const AutoguidedDenoiser autoguided(inner, inner, 2);
  GuidedDenoiser(autoguided, 2, {}, log);
  const TiledDenoiser tiled(inner, {.window = {5, 5}});
  GuidedDenoiser(tiled, 2, {}, log);
  CHECK(messages == std::vector<std::string>(5,
                                             "GuidedDenoiser: inner: expected a null label trained by label "
                                             "dropout, got one that was never trained"));
  GuidedDenoiser(inner, 2);
  GuidedDenoiser(inner, 1, {}, log);
  inner.trained = true;
  GuidedDenoiser(inner, 2, {}, log);
  const Counting silent;
  GuidedDenoiser(silent, 2, {}, log);
  CHECK(messages.size() == 5);
}

TEST_CASE("the gradient of a guided estimate by the noisy image is that of finite differences") {
  DenoiserWrapper inner{host::PixelwiseNetwork<B>({.in_channels = 3, .out_channels = 1, .label_dim = 1}, {1}),
                        {.image = {1, 9, 9}}};
  const B::Tensor cotangent = random_tensor<B>({2, 1, 1, 1}, 5), direction = random_tensor<B>({2, 1, 1, 1}, 6);
  for (const GuidanceInterval interval : {GuidanceInterval{}, GuidanceInterval{.sigma_max = 1}, GuidanceInterval{5}}) {
    GuidedDenoiser guided(inner, 2.5, interval);
    static_assert(DifferentiableDenoiser<decltype(guided)>);
    const auto record = guided.record(x, sigma, places, labelled, by_input);
    CHECK(B::to_host(record.denoised) == B::to_host(guided(x, sigma, places, labelled)));
    const double difference = central_difference([&](double step) {
      return inner_product<B>(guided(linear<B>(1, x, step, direction), sigma, places, labelled), cotangent);
    });
    CHECK(inner_product<B>(guided.backward(record, cotangent).value(), direction) == Approx(difference).epsilon(1e-6));
  }
  CHECK_FALSE(GuidedDenoiser(inner, 2).record(x, sigma, places, labelled, {}).denoised.values.empty());
}

TEST_CASE("autoguidance moves away from a weaker model's estimate, by a call of each") {
  const Counting inner;
  struct Weak : Counting {
    B::Tensor operator()(const B::Tensor& noisy, std::span<const double> levels, const Places& at,
                         const Conditioning<B>& conditioning) const {
      return linear<B>(0.5, Counting::operator()(noisy, levels, at, conditioning));
    }
  };
  const Weak weak{};
  const auto guided = [&](double scale, GuidanceInterval interval = {}) {
    *inner.counts = *weak.counts = {};
    return B::to_host(AutoguidedDenoiser(inner, weak, scale, interval)(x, sigma, places, labelled));
  };
  // D is {14, 27}, the weaker one half of it.
  CHECK(guided(3) == std::vector<double>{28, 54});
  CHECK((inner.counts->samples == 2 && weak.counts->samples == 2));
  CHECK(guided(0) == std::vector<double>{7, 13.5});
  CHECK(guided(3, {.sigma_min = 1}) == std::vector<double>{14, 54});
  CHECK(guided(3, {.sigma_min = 3}) == std::vector<double>{14, 27});
  CHECK((inner.counts->calls == 1 && weak.counts->calls == 0));
  CHECK(guided(1) == std::vector<double>{14, 27});
  CHECK((inner.counts->calls == 1 && weak.counts->calls == 0));
  const GaussianDenoiser<B> strong{.shape = {1, 9, 9}}, other{.shape = {1, 9, 8}};
  static_assert(Denoiser<AutoguidedDenoiser<const GaussianDenoiser<B>>>);
  CHECK_ERROR(ConfigError, "AutoguidedDenoiser: weak: expected images of 1x9x9, got 1x9x8",
              AutoguidedDenoiser(strong, other, 2));
  CHECK_ERROR(ConfigError, "AutoguidedDenoiser: weak: expected label_dim 0, got 1",
              AutoguidedDenoiser(strong, inner, 2));
  CHECK_ERROR(ConfigError, "AutoguidedDenoiser: guidance_scale: expected a finite value, got nan",
              AutoguidedDenoiser(strong, strong, std::numeric_limits<double>::quiet_NaN()));
}

TEST_CASE("GuidedDenoiser refuses what it cannot guide") {
  const Counting inner, unlabelled{.labels = 0};
  CHECK_ERROR(ConfigError, "GuidedDenoiser: interval: expected 0 <= sigma_min < sigma_max, got 2 and 2",
              GuidedDenoiser(inner, 2, {2, 2}));
  CHECK_ERROR(ConfigError, "GuidedDenoiser: interval: expected 0 <= sigma_min < sigma_max, got -1 and inf",
              GuidedDenoiser(inner, 2, {.sigma_min = -1}));
  CHECK_ERROR(ConfigError, "GuidedDenoiser: inner: expected a denoiser with class labels, got label_dim 0",
              GuidedDenoiser(unlabelled, 2));
  CHECK_ERROR(ConfigError, "GuidedDenoiser: guidance_scale: expected a finite value, got inf",
              GuidedDenoiser(inner, std::numeric_limits<double>::infinity()));
  CHECK_ERROR(ShapeError, "GuidedDenoiser: class_labels: expected labels to guide towards, got none",
              GuidedDenoiser(inner, 2)(x, sigma, places, {}));
}

}  // namespace
}  // namespace patchdiff
