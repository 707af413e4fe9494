// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/diffusion/noise_level.hpp>
#include <patchdiff/diffusion/noise_process.hpp>

namespace patchdiff {

/// What a step learns about the clean images, and at which noise level.
template <Backend B>
struct CleanEstimate {
  typename B::Tensor denoised;
  double sigma = 0;
};

/// What the steps of one run have in common; `denoise(y, sigma)` takes unscaled images, `noise(step, draw)` is unit
/// normal.
template <Backend B>
struct SolverRun {
  NoiseProcess process;
  /// The denoiser, of an unscaled image and its sigma.
  std::function<typename B::Tensor(const typename B::Tensor&, double)> denoise;
  /// Unit normal noise of a step, by step and number within it.
  std::function<typename B::Tensor(std::int64_t, std::int64_t)> noise;
  std::int64_t num_steps = 0;
};

/// One step of a run as a solver sees it: from `time()` down to `next_time()` of the run's process.
///
/// States are the process's own, scaled images x(t) = s(t) (x0 + sigma(t) n).
template <Backend B>
class SolverStep {
 public:
  using Tensor = typename B::Tensor;

  SolverStep(const SolverRun<B>& run, std::int64_t index, double time, double next_time,
             const CleanEstimate<B>* previous)
      : run_(&run),
        previous_(previous),
        index_(index),
        time_(time),
        next_time_(next_time),
        moment_(run.process.at(time)),
        next_level_(run.process.at(next_time).level) {}

  std::int64_t index() const noexcept { return index_; }
  std::int64_t num_steps() const noexcept { return run_->num_steps; }
  const NoiseProcess& process() const noexcept { return run_->process; }

  double time() const noexcept { return time_; }
  double next_time() const noexcept { return next_time_; }
  const NoiseMoment& moment() const noexcept { return moment_; }
  NoiseLevel level() const noexcept { return moment_.level; }
  NoiseLevel next_level() const noexcept { return next_level_; }

  /// Whether the step ends at the data, where no score exists: such a step is taken from `time()` alone.
  bool ends_at_data() const noexcept { return next_level_.sigma == 0; }

  /// Makes the step start at another time, for a solver that has moved the state there.
  void start_at(double time) {
    time_ = time;
    moment_ = run_->process.at(time);
  }

  /// The estimate of the clean images behind a state; one call of the denoiser.
  Tensor denoise(const Tensor& x, double time) { return denoise_at(x, run_->process.at(time).level); }

  /// dx/dt of the probability-flow ODE: (sigma'/sigma + s'/s) x - sigma' s / sigma D; one call of the denoiser.
  ///
  /// Source: EDM (arXiv 2206.00364), Algorithm 1.
  Tensor slope(const Tensor& x, double time) {
    const NoiseMoment at = run_->process.at(time);
    const double rate = at.sigma_rate / at.level.sigma;
    return linear<B>(rate + at.drift(), x, -rate * at.level.scale, denoise_at(x, at.level));
  }

  /// Unit normal noise; each call of a step gives other noise.
  Tensor noise() { return run_->noise(index_, draws_++); }

  /// The first estimate of the step before, or null in the first step.
  const CleanEstimate<B>* previous() const noexcept { return previous_; }

  /// The step's first estimate so far.
  const std::optional<CleanEstimate<B>>& first() const noexcept { return first_; }

  /// Calls of the denoiser so far.
  std::int64_t nfe() const noexcept { return nfe_; }

 private:
  Tensor denoise_at(const Tensor& x, NoiseLevel level) {
    Tensor denoised = run_->denoise(level.scale == 1 ? x : linear<B>(1 / level.scale, x), level.sigma);
    ++nfe_;
    if (!first_) first_ = {denoised, level.sigma};
    return denoised;
  }

  const SolverRun<B>* run_;
  const CleanEstimate<B>* previous_;
  std::int64_t index_;
  double time_;
  double next_time_;
  NoiseMoment moment_;
  NoiseLevel next_level_;
  std::optional<CleanEstimate<B>> first_{};
  std::int64_t nfe_ = 0;
  std::int64_t draws_ = 0;
};

/// A numerical method: `step(step, x)` gives the state at the step's end, on any backend B. Euler's, for example:
///
///     template <Backend B>
///     typename B::Tensor step(SolverStep<B>& step, const typename B::Tensor& x) const {
///       return linear<B>(1, x, step.next_time() - step.time(), step.slope(x, step.time()));
///     }
template <class S, class B>
concept Solver = std::copyable<S> && requires(const S& solver, SolverStep<B>& step, const typename B::Tensor& x) {
  { solver.step(step, x) } -> std::same_as<typename B::Tensor>;
};

}  // namespace patchdiff
