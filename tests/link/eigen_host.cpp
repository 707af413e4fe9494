// SPDX-License-Identifier: Apache-2.0
// A host without LibTorch: patchdiff/eigen.hpp alone, every component, a network of its own and its own thread pool.
#include <patchdiff/eigen.hpp>

#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace pd = patchdiff;
using B = pd::EigenBackend<float>;
using Tensor = B::Tensor;

/// One weight per channel: output channel c is w_c times input channel c.
class ChannelScale {
 public:
  using Backend = B;
  struct Record {
    Tensor output;
    Tensor input;
  };

  explicit ChannelScale(B::Device device) : value_(B::zeros({2}, device)), gradient_(B::zeros({2}, device)) {}

  Tensor operator()(const Tensor& input, std::span<const double>, const pd::Conditioning<B>&, const pd::Pass&) const {
    Tensor output = B::slice(input, 1, 0, 2);
    for (std::int64_t n = 0; n < output.size(0); ++n) {
      for (std::int64_t c = 0; c < 2; ++c) output.plane(n, c) *= value_.array()(c);
    }
    return output;
  }
  Record record(const Tensor& input, std::span<const double> c_noise, const pd::Conditioning<B>& conditioning,
                const pd::Pass& pass) {
    return {(*this)(input, c_noise, conditioning, pass), input};
  }
  std::optional<Tensor> backward(const Record& record, const Tensor& cotangent) {
    for (std::int64_t n = 0; n < cotangent.size(0); ++n) {
      for (std::int64_t c = 0; c < 2; ++c) {
        gradient_.array()(c) += cotangent.plane(n, c).cwiseProduct(record.input.plane(n, c)).sum();
      }
    }
    return std::nullopt;
  }

  template <class Visitor>
  void visit_parameters(Visitor&& visit) {
    visit(std::string_view("scale"), value_, gradient_);
  }
  template <class Visitor>
  void visit_state(Visitor&& visit) {
    visit(std::string_view("scale"), value_);
  }
  ChannelScale clone() const {
    ChannelScale copy(device());
    copy.value_ = B::clone(value_);
    return copy;
  }

  std::int64_t input_channels() const { return 4; }
  std::int64_t output_channels() const { return 2; }
  std::int64_t label_dim() const { return 0; }
  std::int64_t size_divisor() const { return 1; }
  B::Device device() const { return value_.device(); }

 private:
  Tensor value_;
  Tensor gradient_;
};

int main() {
  pd::ThreadExecutor executor(2);
  const B::Device device{executor};
  pd::DenoiserWrapper denoiser{ChannelScale(device), {.image = {2, 8, 8}}};
  pd::Adam<B> adam({.learning_rate = 0.05});
  pd::EMA<B> ema(denoiser, {.halflife_images = 50});
  const pd::TrainStep<B> step({.schedule = pd::PatchSizeSchedule::stochastic({.image = {8, 8}}), .batch = 8});
  pd::TrainState state{.seed = 1};
  while (state.step < 20) {
    const pd::PatchPlan plan = step.plan(state);
    std::vector<float> pixels(static_cast<std::size_t>(plan.images * 2 * 8 * 8));
    pd::RandomStream({2}, pd::Purpose::data_order, state.step, 0).normals(std::span(pixels));
    const Tensor images = B::from_host(std::span<const float>(pixels), {plan.images, 2, 8, 8}, device);
    if (!std::isfinite(step(denoiser, adam, {.images = images}, plan, state).loss())) return 1;
    ema.update(denoiser, state);
  }
  auto averaged = ema.apply_to(denoiser.clone());
  const std::vector<double> sample = B::Wide::to_host(pd::ODESampler{{.num_steps = 4}}(averaged, {.seeds = {1, 2}}));
  for (const double pixel : sample) {
    if (!std::isfinite(pixel)) return 2;
  }
  // The images vary more than sigma_data says, so the right scale is above 0, where it started.
  bool learned = true;
  averaged.visit_state([&](std::string_view, Tensor& scale) { learned = scale.array().minCoeff() > 0.1F; });
  return sample.size() == 2 * 2 * 8 * 8 && learned ? 0 : 3;
}
