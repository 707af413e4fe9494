// SPDX-License-Identifier: Apache-2.0
// The device that a benchmark over LibTorch computes on, and how its time is told.
#pragma once

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <CLI/CLI.hpp>

#include <patchdiff/backend/torch/torch_backend.hpp>

#include "measure.hpp"

class ComputeDevice {
 public:
  void add_to(CLI::App& app) {
    app.add_option_function<std::string>(
           "--device", [this](const std::string& name) { device_ = at::Device(name); }, "cpu, cuda, cuda:1, ...")
        ->default_str("cpu");
  }

  bool is_cpu() const { return device_.is_cpu(); }
  std::string name() const { return device_.str(); }
  at::TensorOptions options() const { return device_; }
  patchdiff::TorchDevice torch_device() const { return {.device = device_}; }

  /// Returns when all that the device was given is done.
  void wait() const {
    if (!is_cpu()) c10::impl::VirtualGuardImpl(device_.type()).getStream(device_).synchronize();
  }

  /// The times that ratios are made of: `now`'s kind.
  const std::vector<double>& judged(const Times& times) const { return is_cpu() ? times.processor : times.elapsed; }

  /// Processor time, which other work disturbs least; of another device the time by the clock when its work is done.
  double now() const {
    if (is_cpu()) return processor_seconds();
    wait();
    return clock_seconds();
  }

 private:
  at::Device device_ = at::kCPU;
};
