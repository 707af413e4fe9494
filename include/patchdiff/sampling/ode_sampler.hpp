// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/flow.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/diffusion/denoiser.hpp>
#include <patchdiff/diffusion/noise_process.hpp>
#include <patchdiff/diffusion/sigma_schedule.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/sampling/heun.hpp>
#include <patchdiff/sampling/pixel_noise.hpp>
#include <patchdiff/sampling/sample_request.hpp>
#include <patchdiff/sampling/sampling_progress.hpp>
#include <patchdiff/sampling/solver_step.hpp>
#include <patchdiff/sampling/window.hpp>

namespace patchdiff {

/// Where a sampler steps; the defaults are EDM's (arXiv 2206.00364, Table 1).
struct ODESamplerOptions {
  std::int64_t num_steps = 18;                    ///< at least 1
  SigmaSchedule schedule = SigmaSchedule::edm();  ///< the noise levels of the steps; the last step ends at 0
  NoiseProcess process = NoiseProcess::edm();     ///< the time and the scale in which steps are taken
  bool check_finite = true;                       ///< read one flag at the end; else nothing waits for the device
};

/// Draws images by solving an ODE or SDE from noise to data: the one loop around every solver.
///
/// A solver sees only SolverStep, so guidance and tiling are denoisers around a denoiser; the model of any formulation
/// can be sampled in any process. The state is in float64 whatever the network's precision. Source: EDM (arXiv
/// 2206.00364), Algorithms 1 to 3.
template <class SolverType = Heun>
class ODESampler {
 public:
  /// Errors: ConfigError for a number of steps < 1, and a schedule whose noise levels do not fall.
  explicit ODESampler(ODESamplerOptions options = {}, SolverType solver = SolverType{})
      : options_(std::move(options)), solver_(std::move(solver)) {
    for (const double sigma : options_.schedule(options_.num_steps)) times_.push_back(options_.process.time(sigma));
    times_.push_back(0);
  }

  /// Draws one sample per seed; a seed's sample does not depend on the others.
  ///
  /// Shapes: the result is [N, C, h, w] in float64, about [-1, 1] for models of such images.
  /// Draws: pixel_noise of `Purpose::initial_noise`, and of `Purpose::solver_noise` where the solver asks for noise.
  /// Errors: ShapeError for no seeds or a window outside the image; NumericError, at the end of the run, for samples
  /// that stopped being finite; what the denoiser throws.
  template <Denoiser D, class Callback = std::nullptr_t>
  typename D::Backend::Wide::Tensor operator()(const D& denoiser, const SampleRequest<typename D::Backend>& request,
                                               Callback&& callback = {}) const {
    using Wide = typename D::Backend::Wide;
    const ImageShape image = denoiser.image();
    const Window window = request.window.value_or(Window{0, 0, image.height, image.width});
    check(request.seeds.size(), window, image);
    const auto device = D::Backend::wide_device(denoiser.device());
    const auto noise = [&](Purpose purpose, std::int64_t step, std::int64_t draw) {
      return pixel_noise<Wide>(request.seeds, purpose, static_cast<std::uint64_t>(step),
                               static_cast<std::uint64_t>(draw), image, window, device);
    };
    const Places places = Places::repeated(window.size(), Place::at(window.top, window.left),
                                           static_cast<std::int64_t>(request.seeds.size()));
    const auto solver_noise = [&](std::int64_t step, std::int64_t draw) {
      return noise(Purpose::solver_noise, step, draw);
    };
    return solve(denoiser, noise(Purpose::initial_noise, 0, 0), places, request.conditioning, solver_noise,
                 std::forward<Callback>(callback));
  }

  /// The same from a host's own unit normal noise; `solver_noise(step, draw)` gives what the solver asks for.
  ///
  /// A run that the callback stops gives its state there, unscaled.
  template <Denoiser D, class SolverNoise, class Callback = std::nullptr_t>
  typename D::Backend::Wide::Tensor solve(const D& denoiser, typename D::Backend::Wide::Tensor unit_noise,
                                          const Places& places, const Conditioning<typename D::Backend>& conditioning,
                                          SolverNoise&& solver_noise, Callback&& callback = {}) const {
    using B = typename D::Backend;
    using Wide = typename B::Wide;
    using State = typename Wide::Tensor;
    static_assert(Solver<SolverType, Wide>,
                  "ODESampler: the solver does not fit the concept Solver (sampling/solver_step.hpp)");
    const SolverRun<Wide> run{
        .process = options_.process,
        .denoise =
            [&](const State& x, double sigma) {
              const std::vector<double> sigmas(static_cast<std::size_t>(places.count()), sigma);
              return B::widen(denoiser(B::narrow(x, denoiser.device()), sigmas, places, conditioning));
            },
        .noise = solver_noise,
        .num_steps = options_.num_steps};
    NoiseLevel level = run.process.at(times_.front()).level;
    State x = std::move(unit_noise);
    x = linear<Wide>(level.deviation(), x);
    std::optional<CleanEstimate<Wide>> previous;
    std::vector<State> flags;
    std::int64_t nfe = 0;
    for (std::int64_t index = 0; index < options_.num_steps; ++index) {
      const auto now = static_cast<std::size_t>(index);
      SolverStep<Wide> step(run, index, times_[now], times_[now + 1], previous ? &*previous : nullptr);
      x = solver_.step(step, x);
      if (!step.first()) refuse<ConfigError>("ODESampler", "solver", "a call of the denoiser in each step", "none");
      level = step.next_level();
      nfe += step.nfe();
      previous = step.first();
      flags.push_back(Wide::finite_flag(std::span<const State>(&x, 1)));
      if constexpr (!std::is_null_pointer_v<std::remove_cvref_t<Callback>>) {
        const SamplingProgress<B> progress{.step = index + 1,
                                           .num_steps = options_.num_steps,
                                           .level = level,
                                           .x = x,
                                           .denoised = previous->denoised,
                                           .sigma = previous->sigma,
                                           .nfe = nfe,
                                           .flag = flags.back()};
        if (callback(progress) == Flow::stop) break;
      }
    }
    if (options_.check_finite && !Wide::read_flag(flags.back())) throw not_finite<Wide>(flags);
    return level.scale == 1 ? x : linear<Wide>(1 / level.scale, x);
  }

  const ODESamplerOptions& options() const noexcept { return options_; }

 private:
  /// The error that says after which step the state was not finite.
  template <Backend Wide>
  NumericError not_finite(const std::vector<typename Wide::Tensor>& flags) const {
    std::size_t step = 0;
    while (Wide::read_flag(flags[step])) ++step;
    return {"ODESampler", "samples", "finite values",
            str("others after step ", step + 1, " of ", options_.num_steps, " (sigma ",
                shortened(options_.process.at(times_[step]).level.sigma, 4), ')')};
  }

  static void check(std::size_t seeds, const Window& window, ImageShape image) {
    require<ShapeError>(seeds != 0, "ODESampler", "seeds", "at least one seed", "none");
    if (window.top < 0 || window.left < 0 || window.height < 1 || window.width < 1 ||
        window.top > image.height - window.height || window.left > image.width - window.width) {
      refuse<ShapeError>("ODESampler", "window", str("a window inside ", to_string(image.size())),
                         str(to_string(window.size()), " at top ", window.top, ", left ", window.left));
    }
  }

  ODESamplerOptions options_;
  SolverType solver_;
  std::vector<double> times_;
};

}  // namespace patchdiff
