// SPDX-License-Identifier: Apache-2.0
// What sums of gradients over MPI cost beside MPI_Allreduce of as many bytes, in turns: a message of MPIProcessGroup,
// and BucketedSum with its copies from and to a network's gradients. Run it under mpirun; process 0 prints medians and,
// with
// --json, writes every figure.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <mpi.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/parallel/bucketed_sum.hpp>
#include <patchdiff/parallel/mpi/mpi_process_group.hpp>
#include <patchdiff/parallel/mpi/mpi_session.hpp>
#include <patchdiff/parallel/torch/torch_buffer.hpp>

#include "measure.hpp"

namespace {

namespace pd = patchdiff;

struct Settings {
  std::vector<std::int64_t> kibibytes{64, 1024, 25600};
  std::int64_t parameters = 40;
  int repeats = 20;
  std::string json;
};

/// A network's gradients of so many bytes together, in equal tensors.
struct Gradients {
  using Backend = pd::TorchBackend;
  std::vector<at::Tensor> values{};

  Gradients(std::int64_t bytes, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) values.push_back(at::ones({bytes / 4 / count}));
  }

  template <class Visitor>
  void visit_parameters(Visitor&& visit) {
    for (at::Tensor& value : values) visit(std::string_view("gradient"), value, value);
  }
  template <class Visitor>
  void visit_state(Visitor&& visit) {
    for (at::Tensor& value : values) visit(std::string_view("gradient"), value);
  }
};

Json measure(pd::MPIProcessGroup& group, std::int64_t bytes, const Settings& settings) {
  std::vector<float> values(static_cast<std::size_t>(bytes / 4), 1.0F);
  Gradients gradients(bytes, settings.parameters);
  pd::BucketedSum<pd::TorchBackend, pd::MPIProcessGroup> bucketed(group, gradients);
  std::vector<double> raw, message, whole;
  for (int repeat = -2; repeat < settings.repeats; ++repeat) {
    MPI_Barrier(MPI_COMM_WORLD);
    const double raw_seconds = seconds([&] {
      MPI_Allreduce(MPI_IN_PLACE, values.data(), static_cast<int>(values.size()), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    });
    MPI_Barrier(MPI_COMM_WORLD);
    const double message_seconds = seconds([&] {
      pd::MPIProcessGroup::Sum sum = group.start_sum(std::span<float>(values));
      group.wait(sum, "benchmark");
    });
    MPI_Barrier(MPI_COMM_WORLD);
    const double whole_seconds = seconds([&] { bucketed.finish(gradients); });
    if (repeat < 0) continue;
    raw.push_back(raw_seconds);
    message.push_back(message_seconds);
    whole.push_back(whole_seconds);
  }
  const Spread one = spread_of(raw), two = spread_of(message), three = spread_of(whole);
  if (group.rank() == 0) {
    fmt::print("{:6} KiB  MPI_Allreduce {:8.3f} ms  MPIProcessGroup {:5.2f}x  BucketedSum {:5.2f}x\n", bytes / 1024,
               1e3 * one.median, two.median / one.median, three.median / one.median);
  }
  return {{"bytes", bytes},
          {"allreduce", to_json(one)},
          {"message", to_json(two)},
          {"bucketed", to_json(three)},
          {"message_ratio", two.median / one.median},
          {"bucketed_ratio", three.median / one.median}};
}

void run(const Settings& settings) {
  at::set_num_threads(1);
  pd::MPIProcessGroup group(60);
  Json rows = Json::array();
  for (const std::int64_t kibibytes : settings.kibibytes) rows.push_back(measure(group, kibibytes * 1024, settings));
  if (group.rank() == 0) {
    write_figures(settings.json, "mpi_sum_bench",
                  {{"processes", group.size()}, {"repeats", settings.repeats}, {"rows", rows}});
  }
}

}  // namespace

int main(int argc, char** argv) {
  pd::MPISession mpi(argc, argv);
  Settings settings;
  CLI::App app{"Measures sums of gradients over MPI.", "mpi_sum_bench"};
  app.add_option("--kibibytes", settings.kibibytes, "sizes of what is summed")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  app.add_option("--parameters", settings.parameters, "tensors that the gradients come in")->check(CLI::PositiveNumber);
  app.add_option("--repeats", settings.repeats, "repeats of each")->check(CLI::PositiveNumber);
  add_json(app, settings.json);
  const int status = run_program(app, argc, argv, [&] { run(settings); });
  if (status != 0) mpi.abort(status);
  return 0;
}
