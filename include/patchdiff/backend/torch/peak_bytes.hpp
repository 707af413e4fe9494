// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

namespace patchdiff {

/// The type of the totals in LibTorch's memory reports, signed in some versions.
template <class Report>
struct ReportedTotal;
template <class Base, class Total>
struct ReportedTotal<void (Base::*)(void*, std::int64_t, Total, Total, c10::Device)> {
  using Type = Total;
};

/// Counts what tensors of one thread take in LibTorch's allocators.
class TorchByteCounter final : public c10::MemoryReportingInfoBase {
 public:
  using Total = ReportedTotal<decltype(&c10::MemoryReportingInfoBase::reportMemoryUsage)>::Type;

  void reportMemoryUsage(void*, std::int64_t bytes, Total, Total, c10::Device) override {
    const std::int64_t now = now_ += bytes;
    std::int64_t peak = peak_;
    while (now > peak && !peak_.compare_exchange_weak(peak, now)) {
    }
  }
  bool memoryProfilingEnabled() const override { return true; }

  /// Bytes that are held now, beyond those from before.
  std::int64_t now() const noexcept { return now_; }
  std::int64_t peak() const noexcept { return peak_; }

 private:
  std::atomic<std::int64_t> now_ = 0;
  std::atomic<std::int64_t> peak_ = 0;
};

/// The most bytes that tensors made by a function held at once, beyond those from before; runs it once.
///
/// LibTorch's own work space, which kernels get past its allocators, does not count.
template <class F>
std::int64_t peak_torch_bytes(const F& f) {
  const auto counter = std::make_shared<TorchByteCounter>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, counter);
  f();
  return counter->peak();
}

}  // namespace patchdiff
