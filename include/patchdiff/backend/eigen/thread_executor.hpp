// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <patchdiff/backend/eigen/executor.hpp>
#include <patchdiff/core/error.hpp>

namespace patchdiff {

/// A small pool for programs that have none: the calling thread and threads - 1 others.
///
/// A loop that starts while another one runs, from another thread or from a task, runs on its calling thread alone.
class ThreadExecutor {
 public:
  explicit ThreadExecutor(int threads) {
    require<ConfigError>(threads >= 1, "ThreadExecutor", "threads", "at least 1", threads);
    for (int worker = 1; worker < threads; ++worker) {
      workers_.emplace_back([this](const std::stop_token& stop) { work(stop); });
    }
  }

  ThreadExecutor(const ThreadExecutor&) = delete;
  ThreadExecutor& operator=(const ThreadExecutor&) = delete;
  ~ThreadExecutor() = default;

  /// Calls f(i) once for each i in [0, n). After an exception of f no further call starts; the first one is rethrown.
  void parallel_for(std::int64_t n, const IndexTask& f) {
    if (busy_.exchange(true, std::memory_order_acquire)) {
      for (std::int64_t index = 0; index < n; ++index) f(index);
      return;
    }
    Loop loop{.tasks = n, .task = f};
    {
      const std::lock_guard lock(mutex_);
      loop_ = &loop;
      ++loops_started_;
    }
    changed_.notify_all();
    loop.run();
    {
      std::unique_lock lock(mutex_);
      loop_ = nullptr;
      changed_.wait(lock, [&] { return loop.helpers == 0; });
    }
    busy_.store(false, std::memory_order_release);
    if (loop.error) std::rethrow_exception(loop.error);
  }

  int threads() const noexcept { return static_cast<int>(workers_.size()) + 1; }

 private:
  struct Loop {
    std::int64_t tasks = 0;
    const IndexTask& task;
    std::atomic<std::int64_t> next{0};
    int helpers = 0;  ///< under the executor's mutex
    std::mutex error_mutex{};
    std::exception_ptr error{};

    void run() noexcept {
      for (std::int64_t index = next++; index < tasks; index = next++) {
        try {
          task(index);
        } catch (...) {
          next = tasks;
          const std::lock_guard lock(error_mutex);
          if (!error) error = std::current_exception();
        }
      }
    }
  };

  void work(const std::stop_token& stop) {
    std::uint64_t seen = 0;
    std::unique_lock lock(mutex_);
    while (changed_.wait(lock, stop, [&] { return loop_ != nullptr && loops_started_ != seen; })) {
      seen = loops_started_;
      Loop& loop = *loop_;
      ++loop.helpers;
      lock.unlock();
      loop.run();
      lock.lock();
      if (--loop.helpers == 0) changed_.notify_all();
    }
  }

  std::atomic<bool> busy_ = false;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  Loop* loop_ = nullptr;
  std::uint64_t loops_started_ = 0;
  std::vector<std::jthread> workers_;  ///< the last member: they stop before what they use goes
};

}  // namespace patchdiff
