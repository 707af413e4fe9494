// SPDX-License-Identifier: Apache-2.0
// Loads a model file of some hundred MB: the time beside reading the same bytes and beside copying them from the mapped
// file, in turns, with the file in the system's cache, and the memory that loading takes at most. Another process
// writes and checks the file, so that this one is as it was. Prints medians and, with --json, writes every figure.

#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <fmt/format.h>
#include <torch/version.h>

#include <patchdiff/io/mapped_file.hpp>
#include <patchdiff/io/model_file.hpp>
#include <patchdiff/torch.hpp>

#include "measure.hpp"
#include "shared/process_memory.hpp"

namespace {

namespace pd = patchdiff;
namespace fs = std::filesystem;

struct Settings {
  std::int64_t model_channels = 192;
  std::int64_t repeats = 7;
  int threads = 1;
  std::string folder = fs::temp_directory_path().string();
  std::string json;
};

/// A folder of files that is removed with its owner.
struct Folder {
  fs::path path;
  explicit Folder(const Settings& settings)
      : path(fs::path(settings.folder) / fmt::format("patchdiff-load-bench-{}", ::getpid())) {
    fs::create_directory(path);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

/// Writes EDM's DDPM++ for CIFAR-10 at some width, and compares every tensor with what loading gives.
void write_checked(const fs::path& path, std::int64_t model_channels) {
  pd::SongUNetOptions options{.image = {32, 32}};
  options.model_channels = model_channels;
  pd::DenoiserWrapper denoiser{pd::SongUNet(options, {1}), {.image = {3, 32, 32}}};
  pd::model_file::save(path, denoiser);
  std::map<std::string, at::Tensor, std::less<>> saved;
  denoiser.visit_state([&](std::string_view name, at::Tensor& value) { saved.emplace(name, value); });
  auto loaded = pd::model_file::load<pd::SongUNet>(path);
  std::size_t equal = 0;
  loaded.visit_state(
      [&](std::string_view name, at::Tensor& value) { equal += at::equal(value, saved.find(name)->second) ? 1 : 0; });
  if (equal != saved.size()) throw std::runtime_error(fmt::format("{} of {} tensors came back", equal, saved.size()));
}

/// Does some work in a process of its own. Errors: runtime_error where it failed there.
void in_child(const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      work();
    } catch (const std::exception& error) {
      fmt::print(stderr, "load_bench: {}\n", error.what());
      ::_exit(1);
    }
    ::_exit(0);
  }
  int status = 1;
  if (child < 0 || ::waitpid(child, &status, 0) != child || status != 0) {
    throw std::runtime_error("the process that writes the file failed");
  }
}

/// Times some work from memory that the process does not hold yet.
template <class F>
void add(Times& times, const F& work) {
  malloc_trim(0);
  times.add(work);
}

Json figures_of(const Times& times) {
  return {{"wall", to_json(spread_of(times.elapsed))}, {"processor", to_json(spread_of(times.processor))}};
}

void run(const Settings& settings) {
  at::set_num_threads(settings.threads);
  const Folder folder(settings);
  const fs::path path = folder.path / "model.safetensors", small = folder.path / "small.safetensors";
  in_child([&] {
    write_checked(small, 8);
    write_checked(path, settings.model_channels);
  });
  const auto load = [](const fs::path& file) { return pd::model_file::load<pd::SongUNet>(file); };

  load(small);  // warms LibTorch up
  malloc_trim(0);
  forget_peak_memory();
  const std::int64_t before = process_memory("VmRSS");
  std::int64_t held = 0, peak = 0;
  {
    const auto denoiser = load(path);
    peak = process_memory("VmHWM") - before;
    held = process_memory("VmRSS") - before;
  }

  const auto bytes = static_cast<std::size_t>(fs::file_size(path));
  Times loading, reading, copying;
  for (std::int64_t turn = 0; turn < settings.repeats; ++turn) {
    add(loading, [&] { load(path); });
    add(reading, [&] {
      const auto buffer = std::make_unique_for_overwrite<char[]>(bytes);
      std::ifstream(path, std::ios::binary).read(buffer.get(), static_cast<std::streamsize>(bytes));
    });
    add(copying, [&] {
      const pd::MappedFile file(path);
      const at::Tensor copy = at::empty({static_cast<std::int64_t>(bytes)}, at::kByte);
      std::memcpy(copy.data_ptr(), file.bytes().data(), bytes);
    });
  }
  const auto share = [&](std::int64_t memory) { return static_cast<double>(memory) / static_cast<double>(bytes); };
  const auto median = [](const std::vector<double>& values) { return spread_of(values).median; };
  fmt::print(
      "{:.1f} MB: load {:.0f} ms, read {:.0f} ms, copy {:.0f} ms; of the processor {:.0f}, {:.0f}, {:.0f} ms; memory "
      "at "
      "most {:.3f} of the file, held {:.3f}\n",
      1e-6 * static_cast<double>(bytes), 1e3 * median(loading.elapsed), 1e3 * median(reading.elapsed),
      1e3 * median(copying.elapsed), 1e3 * median(loading.processor), 1e3 * median(reading.processor),
      1e3 * median(copying.processor), share(peak), share(held));
  write_figures(settings.json, "load_bench",
                {{"benchmark", "load"},
                 {"libtorch", TORCH_VERSION},
                 {"threads", settings.threads},
                 {"model_channels", settings.model_channels},
                 {"repeats", settings.repeats},
                 {"file_bytes", bytes},
                 {"peak_bytes", peak},
                 {"peak_of_file", share(peak)},
                 {"held_bytes", held},
                 {"load", figures_of(loading)},
                 {"read", figures_of(reading)},
                 {"copy", figures_of(copying)}});
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Time and memory of loading a model file, beside reading and copying its bytes.", "load_bench"};
  app.add_option("--model-channels", settings.model_channels, "width of DDPM++; 192 makes a file of 500 MB");
  app.add_option("--repeats", settings.repeats, "timed turns")->check(CLI::PositiveNumber);
  app.add_option("--folder", settings.folder, "where the file is written, and removed");
  add_threads(app, settings.threads);
  add_json(app, settings.json);
  return run_program(app, argc, argv, [&] { run(settings); });
}
