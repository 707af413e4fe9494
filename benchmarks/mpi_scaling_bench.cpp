// SPDX-License-Identifier: Apache-2.0
// How much faster several processes train than one: the same steps, in turns, by process 0 alone while the others
// sleep, and by all of them, a thread each. Run it under mpirun; process 0 prints medians by the clock and, with
// --json, writes every figure.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <mpi.h>

#include <patchdiff/parallel/gradient_sum.hpp>
#include <patchdiff/parallel/mpi/mpi_process_group.hpp>
#include <patchdiff/parallel/mpi/mpi_session.hpp>
#include <patchdiff/parallel/single_process.hpp>
#include <patchdiff/parallel/torch/torch_buffer.hpp>
#include <patchdiff/torch.hpp>

#include "measure.hpp"
#include "unet_settings.hpp"

namespace {

namespace pd = patchdiff;
using B = pd::TorchBackend;

struct Settings : UNetSettings {
  pd::Precision precision = pd::Precision::float32;
};

/// Returns when every process has called it, and leaves the processor to the others meanwhile.
void meet() {
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Ibarrier(MPI_COMM_WORLD, &request);
  for (int there = 0; there == 0;) {
    MPI_Test(&request, &there, MPI_STATUS_IGNORE);
    if (there == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

/// A model that a group's processes train together.
template <class Group>
class Training {
 public:
  Training(const Settings& settings, std::int64_t patch, Group& group)
      : denoiser_(pd::SongUNet(settings.network(), {1}), {.image = settings.image(), .precision = settings.precision}),
        step_({.schedule = pd::PatchSizeSchedule::stochastic_of({.image = settings.image().size(),
                                                                 .sizes = {{patch, patch}},
                                                                 .multiplier = pd::MultiplierRule::constant(1)}),
               .batch = settings.batch}),
        processes_(denoiser_, group),
        images_(at::randn({settings.batch, settings.image_channels, settings.resolution, settings.resolution}) * 0.5),
        labels_(settings.labels(settings.batch)) {}

  void step() {
    const pd::PatchPlan plan = step_.plan(state_);
    const pd::Share share = processes_.share(plan);
    pd::ImageBatch<B> batch{.images = images_.slice(0, share.first, share.first + share.count)};
    if (labels_) batch.class_labels = labels_->slice(0, share.first, share.first + share.count);
    pd::zero_gradients(denoiser_);
    auto report = step_.gradients(denoiser_, batch, plan);
    processes_.finish(step_, report);
    step_.update(denoiser_, adam_, report, state_);
  }

 private:
  pd::DenoiserWrapper<pd::SongUNet> denoiser_;
  pd::TrainStep<B> step_;
  pd::GradientSum<pd::DenoiserWrapper<pd::SongUNet>, Group> processes_;
  pd::Adam<B> adam_{{.learning_rate = 1e-4}};
  pd::TrainState state_{.seed = 1};
  at::Tensor images_;
  std::optional<at::Tensor> labels_;
};

Json measure(const Settings& settings, std::int64_t patch, pd::MPIProcessGroup& group) {
  pd::SingleProcess alone;
  Training single(settings, patch, alone);
  Training together(settings, patch, group);
  std::vector<double> by_one, by_all;
  for (std::int64_t turn = -2; turn < settings.steps; ++turn) {
    meet();
    const double one = group.rank() == 0 ? seconds([&] { single.step(); }) : 0;
    meet();
    const double all = seconds([&] { together.step(); });
    if (turn < 0) continue;
    by_one.push_back(one);
    by_all.push_back(all);
  }
  const Spread gain = ratios_of(by_one, by_all);
  if (group.rank() == 0) {
    fmt::print("patch {:4}: {} processes are {:.2f} times ({:.2f} to {:.2f}) as fast as one, {:.2f} ms a step\n", patch,
               group.size(), gain.median, gain.least, gain.most, 1e3 * spread_of(by_all).median);
  }
  return {{"patch", patch},
          {"one", to_json(spread_of(by_one))},
          {"all", to_json(spread_of(by_all))},
          {"gain", ratio_to_json(gain)}};
}

void run(Settings& settings) {
  settings.settle();
  pd::MPIProcessGroup group(60);
  Json results = Json::array();
  for (const std::int64_t patch : settings.patches) results.push_back(measure(settings, patch, group));
  if (group.rank() != 0) return;
  Json figures = settings.described("mpi_scaling");
  figures.update({{"processes", group.size()}, {"dtype", pd::name_of(settings.precision)}, {"results", results}});
  write_figures(settings.json, "mpi_scaling_bench", figures);
}

}  // namespace

int main(int argc, char** argv) {
  pd::MPISession mpi(argc, argv);
  Settings settings;
  settings.threads = 1;
  CLI::App app{"Measures how training scales with processes.", "mpi_scaling_bench"};
  settings.add_to(app, "step");
  add_dtype(app, settings.precision);
  const int status = run_program(app, argc, argv, [&] { run(settings); });
  if (status != 0) mpi.abort(status);
  return 0;
}
