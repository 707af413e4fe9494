// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <numbers>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/flow.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/diffusion/denoiser.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/sampling/edm_sigmas.hpp>
#include <patchdiff/sampling/pixel_noise.hpp>
#include <patchdiff/sampling/solvers.hpp>
#include <patchdiff/sampling/window.hpp>

namespace patchdiff {

/// Settings of EDM's sampler (arXiv 2206.00364, Algorithm 2 and Table 1); churn 0 makes it deterministic.
struct ODESamplerOptions {
  std::int64_t num_steps = 18;                              ///< at least 1
  double sigma_min = 0.002;                                 ///< last noise level before 0, > 0
  double sigma_max = 80;                                    ///< first noise level, > sigma_min
  double rho = 7;                                           ///< spacing of the levels, > 0
  double s_churn = 0;                                       ///< noise added over the whole run, >= 0
  double s_tmin = 0;                                        ///< lowest level at which noise is added
  double s_tmax = std::numeric_limits<double>::infinity();  ///< highest level at which noise is added
  double s_noise = 1;                                       ///< factor on the standard deviation of added noise
};

/// What to draw: one sample per seed, of the whole image or of a window of it.
template <Backend B>
struct SampleRequest {
  std::vector<std::uint64_t> seeds{};
  Conditioning<B> conditioning{};  ///< one row per seed
  std::optional<Window> window{};  ///< the part of the image to draw; the whole image where absent
};

/// The seeds first, first + 1, ...: `count` of them.
inline std::vector<std::uint64_t> seed_range(std::uint64_t first, std::size_t count) {
  std::vector<std::uint64_t> seeds(count);
  for (std::size_t index = 0; index < count; ++index) seeds[index] = first + index;
  return seeds;
}

/// What a sampler's callback sees after each step; state and estimate are in float64.
template <Backend B>
struct SamplingProgress {
  std::int64_t step = 0;                     ///< steps done
  std::int64_t num_steps = 0;                ///< steps in all
  double sigma = 0;                          ///< noise level at which `denoised` was estimated
  const typename B::Wide::Tensor& x;         ///< the state after the step
  const typename B::Wide::Tensor& denoised;  ///< the step's first estimate of the clean images
  std::int64_t nfe = 0;                      ///< calls of the denoiser so far
};

/// Draws images by solving the probability-flow ODE from noise to data, with optional churn.
///
/// A solver sees only `denoise(x, sigma)`, so guidance and tiling are denoisers around a denoiser. The state is in
/// float64 whatever the network's precision.
/// Source: EDM (arXiv 2206.00364), Algorithm 2.
template <class Solver = Heun>
class ODESampler {
 public:
  /// Errors: ConfigError for settings that cannot work.
  explicit ODESampler(ODESamplerOptions options = {}, Solver solver = {})
      : options_(options), solver_(std::move(solver)) {
    require(options_.num_steps >= 1, "num_steps", "at least 1", fmt::format("{}", options_.num_steps));
    require(options_.sigma_min > 0, "sigma_min", "a value > 0", fmt::format("{}", options_.sigma_min));
    require(options_.sigma_max > options_.sigma_min && std::isfinite(options_.sigma_max), "sigma_max",
            fmt::format("a finite value > sigma_min = {}", options_.sigma_min), fmt::format("{}", options_.sigma_max));
    require(options_.rho > 0 && std::isfinite(options_.rho), "rho", "a finite value > 0",
            fmt::format("{}", options_.rho));
    require(options_.s_churn >= 0, "s_churn", "a value >= 0", fmt::format("{}", options_.s_churn));
    require(options_.s_noise >= 0 && std::isfinite(options_.s_noise), "s_noise", "a finite value >= 0",
            fmt::format("{}", options_.s_noise));
  }

  /// Draws one sample per seed; a seed's sample does not depend on the others.
  ///
  /// Shapes: the result is [N, C, h, w] in float64, about [-1, 1] for models of such images.
  /// Draws: pixel_noise of `Purpose::initial_noise`, and of `Purpose::churn_noise` at steps that churn.
  /// Errors: ShapeError for no seeds or a window outside the image, and what the denoiser throws.
  template <Denoiser D, class Callback = std::nullptr_t>
  typename D::Backend::Wide::Tensor operator()(const D& denoiser, const SampleRequest<typename D::Backend>& request,
                                               Callback&& callback = {}) const {
    using Wide = typename D::Backend::Wide;
    const ImageShape image = denoiser.image();
    const Window window = request.window.value_or(Window{0, 0, image.height, image.width});
    check(request.seeds.size(), window, image);
    const auto device = D::Backend::wide_device(denoiser.device());
    const auto noise = [&](Purpose purpose, std::int64_t step) {
      return pixel_noise<Wide>(request.seeds, purpose, static_cast<std::uint64_t>(step), image, window, device);
    };
    const Places places = Places::repeated(window.size(), Place::at(window.top, window.left),
                                           static_cast<std::int64_t>(request.seeds.size()));
    const auto churn_noise = [&](std::int64_t step) { return noise(Purpose::churn_noise, step); };
    return solve(denoiser, noise(Purpose::initial_noise, 0), places, request.conditioning, churn_noise,
                 std::forward<Callback>(callback));
  }

  /// The same from a host's own unit normal noise; `churn_noise(step)` gives that of a step that churns.
  template <Denoiser D, class ChurnNoise, class Callback = std::nullptr_t>
  typename D::Backend::Wide::Tensor solve(const D& denoiser, const typename D::Backend::Wide::Tensor& unit_noise,
                                          const Places& places, const Conditioning<typename D::Backend>& conditioning,
                                          ChurnNoise&& churn_noise, Callback&& callback = {}) const {
    using B = typename D::Backend;
    using Wide = typename B::Wide;
    const auto denoise = [&](const typename Wide::Tensor& x, double sigma) {
      const std::vector<double> sigmas(static_cast<std::size_t>(places.count()), sigma);
      return B::widen(denoiser(B::narrow(x, denoiser.device()), sigmas, places, conditioning));
    };
    const std::vector<double> sigmas =
        edm_sigmas(options_.num_steps, options_.sigma_min, options_.sigma_max, options_.rho);
    typename Wide::Tensor x = linear<Wide>(sigmas.front(), unit_noise);
    std::int64_t nfe = 0;
    for (std::int64_t step = 0; step < options_.num_steps; ++step) {
      double sigma = sigmas[static_cast<std::size_t>(step)];
      if (const double gamma = churn(sigma); gamma > 0) {
        const double raised = sigma * (1 + gamma);
        const double added = options_.s_noise * std::sqrt(raised * raised - sigma * sigma);
        x = linear<Wide>(1, x, added, churn_noise(step));
        sigma = raised;
      }
      SolverStep<Wide> next =
          solver_.template step<Wide>(denoise, x, sigma, sigmas[static_cast<std::size_t>(step) + 1]);
      x = std::move(next.x);
      nfe += next.nfe;
      if constexpr (!std::is_null_pointer_v<std::remove_cvref_t<Callback>>) {
        if (callback(SamplingProgress<B>{step + 1, options_.num_steps, sigma, x, next.denoised, nfe}) == Flow::stop) {
          break;
        }
      }
    }
    return x;
  }

  const ODESamplerOptions& options() const noexcept { return options_; }

 private:
  double churn(double sigma) const noexcept {
    if (sigma < options_.s_tmin || sigma > options_.s_tmax) return 0;
    return std::min(options_.s_churn / static_cast<double>(options_.num_steps), std::numbers::sqrt2 - 1);
  }

  static void require(bool holds, std::string_view argument, std::string_view expected, std::string_view got) {
    if (!holds) throw ConfigError("ODESampler", argument, expected, got);
  }

  static void check(std::size_t seeds, const Window& window, ImageShape image) {
    if (seeds == 0) throw ShapeError("ODESampler", "seeds", "at least one seed", "none");
    if (window.top < 0 || window.left < 0 || window.height < 1 || window.width < 1 ||
        window.top + window.height > image.height || window.left + window.width > image.width) {
      throw ShapeError("ODESampler", "window", fmt::format("a window inside {}", to_string(image.size())),
                       fmt::format("{} at top {}, left {}", to_string(window.size()), window.top, window.left));
    }
  }

  ODESamplerOptions options_;
  Solver solver_;
};

}  // namespace patchdiff
