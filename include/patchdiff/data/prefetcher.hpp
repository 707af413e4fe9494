// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace patchdiff {

/// How far a Prefetcher runs ahead.
struct PrefetchBounds {
  std::size_t ahead = 1;    ///< values that are kept ready or being made, at least 1
  std::size_t workers = 1;  ///< threads, at least 1
};

/// Makes the values of consecutive positions ahead of their use, on threads of its own, and hands them out in order.
///
/// `make(position)` is called from several threads at once, in an order that depends on them; what is handed out does
/// not. One thread of the host may call `seek` and `next`. The destructor waits for calls of `make` that have begun.
template <class Value>
class Prefetcher {
 public:
  /// Makes the values 0, 1, 2, ... ahead.
  Prefetcher(std::function<Value(std::uint64_t)> make, PrefetchBounds bounds)
      : make_(std::move(make)), slots_(bounds.ahead) {
    try {
      for (std::size_t worker = 0; worker < bounds.workers; ++worker) {
        threads_.emplace_back([this] { work(); });
      }
    } catch (...) {
      join();
      throw;
    }
  }

  ~Prefetcher() { join(); }

  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  /// Goes on at a position. What was made ahead is kept from there on where it reaches that far, else thrown away; the
  /// next position is made again where `next` has thrown for it.
  void seek(std::uint64_t position) {
    {
      const std::lock_guard lock(mutex_);
      if (position == next_ && !failed_) return;
      failed_ = false;
      if (position > next_ && position <= begun_) {
        while (next_ < position) slot_of(next_++) = {};
      } else {
        for (Slot& slot : slots_) slot = {};
        next_ = begun_ = position;
        ++generation_;
      }
    }
    wake_workers_.notify_all();
  }

  /// The value of the next position. Errors: what `make` threw for it, again at each call until `seek`.
  Value next() {
    std::optional<Value> value;
    {
      std::unique_lock lock(mutex_);
      Slot& slot = slot_of(next_);
      wake_host_.wait(lock, [&] { return slot.value || slot.error; });
      failed_ = slot.error != nullptr;
      if (failed_) std::rethrow_exception(slot.error);
      value.swap(slot.value);
      ++next_;
    }
    wake_workers_.notify_one();
    return std::move(*value);
  }

 private:
  struct Slot {
    std::optional<Value> value{};
    std::exception_ptr error{};
  };

  /// Those of the positions `next_` to `next_ + ahead - 1` are all different.
  Slot& slot_of(std::uint64_t position) { return slots_[position % slots_.size()]; }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_workers_.wait(lock, [this] { return ending_ || begun_ - next_ < slots_.size(); });
      if (ending_) return;
      const std::uint64_t generation = generation_, position = begun_++;
      lock.unlock();
      Slot made;
      try {
        made.value.emplace(make_(position));
      } catch (...) {
        made.error = std::current_exception();
      }
      lock.lock();
      if (generation != generation_ || position < next_) continue;  // made in vain
      slot_of(position) = std::move(made);
      if (position == next_) wake_host_.notify_one();
    }
  }

  void join() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    wake_workers_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  std::function<Value(std::uint64_t)> make_;
  std::mutex mutex_{};
  std::condition_variable wake_workers_{};
  std::condition_variable wake_host_{};
  std::vector<Slot> slots_;
  std::uint64_t next_ = 0;        ///< the position that is handed out next
  std::uint64_t begun_ = 0;       ///< the position that a worker makes next
  std::uint64_t generation_ = 0;  ///< counts seeks, so that a value made for an old position is dropped
  bool failed_ = false;           ///< whether the host has been told the error of `next_`
  bool ending_ = false;
  std::vector<std::thread> threads_{};
};

}  // namespace patchdiff
