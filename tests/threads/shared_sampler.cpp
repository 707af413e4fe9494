// SPDX-License-Identifier: Apache-2.0
// Two threads draw from one const sampler, one const model and one pool, under the thread sanitizer; their samples are
// those of one thread.

#include <cstdint>
#include <cstdio>
#include <thread>
#include <utility>
#include <vector>

#include <patchdiff/eigen.hpp>

namespace pd = patchdiff;
using B = pd::EigenBackend<float>;
using Model = pd::DenoiserWrapper<pd::SmallUNet<float>>;

namespace {

std::vector<double> drawn(const pd::ODESampler<>& sampler, const Model& model, std::uint64_t seed) {
  return B::Wide::to_host(sampler(model, {.seeds = pd::seed_range(seed, 2)}));
}

}  // namespace

int main() {
  pd::ThreadExecutor pool(2);
  pd::SmallUNet<float> network({.in_channels = 1 + 2, .out_channels = 1, .model_channels = 8, .channel_mult = {1, 2}},
                               {1}, B::Device{pool});
  const Model model{std::move(network), {.image = {1, 8, 8}}};
  const pd::ODESampler<> sampler{{.num_steps = 4}};

  std::vector<double> first, second;
  {
    const std::jthread other([&] { first = drawn(sampler, model, 1); });
    second = drawn(sampler, model, 5);
  }
  const bool same = first == drawn(sampler, model, 1) && second == drawn(sampler, model, 5) && first != second;
  std::puts(same ? "two threads draw what one draws" : "two threads draw something else than one");
  return same ? 0 : 1;
}
