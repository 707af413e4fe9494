// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <c10/util/Exception.h>
#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// The processes of a LibTorch process group that the host has made: Gloo, NCCL or its own.
///
/// It sums tensors where they are, and values of the host on a device that the group can use. Sums of the processor's
/// tensors are waited for until the time-out. Those of other devices only make the device wait; the group's own
/// time-out then holds, and its watchdog ends the process. A group that counts its own time-out should be given the
/// same, as its threads wait for lost processes when it is destroyed.
class C10dProcessGroup {
 public:
  /// A sum under way.
  class Sum {
   private:
    friend C10dProcessGroup;
    std::vector<at::Tensor> summed_{};
    at::Tensor values_{};  ///< the host's, where a copy of them is summed on a device
    c10::intrusive_ptr<c10d::Work> work_{};
  };

  /// Units: the time-out in seconds, 0.001 to 1e9; every process must enter a sum within it.
  /// Errors: ConfigError for no group or a time-out that cannot work.
  C10dProcessGroup(c10::intrusive_ptr<c10d::ProcessGroup> group, double timeout_seconds, at::Device device = at::kCPU)
      : group_(std::move(group)), seconds_(timeout_seconds), device_(device) {
    if (!group_) refuse<ConfigError>("C10dProcessGroup", "group", "a process group", "none");
    if (!(seconds_ >= 1e-3 && seconds_ <= 1e9)) {  // in nanoseconds a clock's 64 bits hold 9.2e9
      refuse<ConfigError>("C10dProcessGroup", "timeout_seconds", "0.001 to 1e9", str(seconds_));
    }
  }

  int rank() const { return group_->getRank(); }
  int size() const { return group_->getSize(); }

  Sum start_sum(std::span<float> values) { return start_host_sum(values); }
  Sum start_sum(std::span<double> values) { return start_host_sum(values); }

  /// Sums a tensor without gaps in its place.
  Sum start_sum(const at::Tensor& tensor) {
    Sum sum;
    sum.summed_.push_back(tensor);
    guarded("start of a sum", [&] { sum.work_ = group_->allreduce(sum.summed_); });
    return sum;
  }

  /// Errors: ProcessError where a process is lost or does not answer in time.
  void wait(Sum& sum, std::string_view what) {
    guarded(what, [&] {
      // A wait with a time-out would stop the host until the device is done.
      const bool on_host = sum.summed_.front().is_cpu();
      const auto timeout =
          std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::duration<double>(seconds_));
      if (!(on_host ? sum.work_->wait(timeout) : sum.work_->wait())) TORCH_CHECK(false, "an aborted sum");
    });
    if (sum.values_.defined()) sum.values_.copy_(sum.summed_.front());
  }

 private:
  template <class Scalar>
  Sum start_host_sum(std::span<Scalar> values) {
    const at::Tensor host = at::from_blob(values.data(), {static_cast<std::int64_t>(values.size())},
                                          c10::CppTypeToScalarType<Scalar>::value);
    if (device_.is_cpu()) return start_sum(host);
    Sum sum = start_sum(host.to(device_));
    sum.values_ = host;
    return sum;
  }

  /// Makes LibTorch's errors ours.
  template <class F>
  void guarded(std::string_view what, const F& f) const {
    std::string got;
    try {
      return f();
    } catch (const c10::Error& error) {
      got = error.what_without_backtrace();
    } catch (const std::exception& error) {
      got = error.what();
    }
    refuse<ProcessError>("C10dProcessGroup", what,
                         str("an answer of all ", size(), " processes within ", seconds_, " s"), got);
  }

  c10::intrusive_ptr<c10d::ProcessGroup> group_;
  double seconds_;
  at::Device device_;
};

}  // namespace patchdiff
