// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace patchdiff::inference {

/// Memory for calls from many threads: each takes a scratch of its own, which is kept for later calls.
template <class Scratch>
class ScratchPool {
 public:
  /// Calls f(scratch); a scratch under which f throws is freed.
  template <class F>
  void with(const F& f) {
    std::unique_ptr<Scratch> scratch = take();
    f(*scratch);
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(scratch));
  }

 private:
  std::unique_ptr<Scratch> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique<Scratch>();
    std::unique_ptr<Scratch> scratch = std::move(free_.back());
    free_.pop_back();
    return scratch;
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> free_;
};

}  // namespace patchdiff::inference
