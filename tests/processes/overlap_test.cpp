// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <string_view>
#include <vector>

#include <ATen/ATen.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/parallel/gradient_sum.hpp>
#include <patchdiff/parallel/torch/autograd_sum.hpp>
#include <patchdiff/parallel/torch/torch_buffer.hpp>

#include "processes/small_training.hpp"
#include "processes/torch_network.hpp"
#include "support/torch_catch.hpp"

namespace patchdiff {
namespace {

/// A group of one that notes the bytes of each message.
struct Noting {
  struct Sum {};
  std::vector<std::int64_t> bytes{};

  int rank() const { return 0; }
  int size() const { return 1; }
  Sum start_sum(std::span<float> values) { return note(values.size_bytes()); }
  Sum start_sum(std::span<double> values) { return note(values.size_bytes()); }
  Sum start_sum(const at::Tensor& tensor) { return note(tensor.nbytes()); }
  void wait(Sum&, std::string_view) {}

 private:
  Sum note(std::size_t count) {
    bytes.push_back(static_cast<std::int64_t>(count));
    return {};
  }
};

std::int64_t parameter_count(SmallTraining<SongUNet>& run) {
  std::int64_t count = 0;
  run.denoiser.visit_parameters([&](auto, at::Tensor& value, at::Tensor&) { count += value.numel(); });
  return count;
}

TEST_CASE("gradients are sent while backward makes others, in messages of known sizes") {
  SmallTraining<SongUNet> run(torch_network(at::kDouble));
  const TrainStep<TorchBackend> step(run.options().step);
  const PatchPlan plan = step.plan(run.state);
  const auto gradients = [&](auto& processes) {
    zero_gradients(run.denoiser);
    processes.last_part();
    return step.gradients(run.denoiser, run.loader.take(plan), plan);
  };
  Noting group;
  SECTION("after backward") {
    GradientSum processes(run.denoiser, group, {.bytes = 8192});
    StepReport<TorchBackend> report = gradients(processes);
    CHECK(group.bytes.empty());
    processes.finish(step, report);
    const std::vector<std::int64_t> of_gradients = processes.gradients().message_bytes();
    CHECK(std::accumulate(of_gradients.begin(), of_gradients.end(), std::int64_t{0}) == 8 * parameter_count(run));
    std::vector<std::int64_t> expected = of_gradients;
    expected.push_back(8 * plan.images);
    CHECK(group.bytes == expected);
  }
  SECTION("during backward") {
    AutogradSum processes(run.denoiser, group, {.bytes = 8192});
    StepReport<TorchBackend> report = gradients(processes);
    CHECK(group.bytes == processes.gradients().message_bytes());
    processes.finish(step, report);
    CHECK(group.bytes.size() == processes.gradients().message_bytes().size() + 1);
    // A second step, of which the first part sends nothing.
    zero_gradients(run.denoiser);
    group.bytes.clear();
    report = step.gradients(run.denoiser, run.loader.take(plan, 0, 2), plan);
    CHECK(group.bytes.empty());
    processes.last_part();
    report.append(step.gradients(run.denoiser, run.loader.take(plan, 2, plan.images - 2), plan));
    CHECK(group.bytes == processes.gradients().message_bytes());
  }
  SECTION("a gradient goes alone where it is larger than a bucket") {
    const GradientSum processes(run.denoiser, group, {.bytes = 1});
    std::int64_t parameters = 0;
    run.denoiser.visit_parameters([&](auto, at::Tensor&, at::Tensor&) { ++parameters; });
    CHECK(static_cast<std::int64_t>(processes.gradients().message_bytes().size()) == parameters);
  }
}

TEST_CASE("what a step leaves does not depend on when its gradients are sent") {
  const auto weights_by = [](auto make) {
    SmallTraining<SongUNet> run(torch_network(at::kDouble));
    Noting group;
    auto processes = make(run, group);
    run.train(6, *processes);
    return run.weights();
  };
  using Net = DenoiserWrapper<SongUNet>;
  const auto after = weights_by([](auto& run, Noting& group) {
    return std::make_unique<GradientSum<Net, Noting>>(run.denoiser, group, BucketOptions{8192});
  });
  const auto during = weights_by([](auto& run, Noting& group) {
    return std::make_unique<AutogradSum<Net, Noting>>(run.denoiser, group, BucketOptions{8192});
  });
  CHECK(after == during);
}

}  // namespace
}  // namespace patchdiff
