// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include <patchdiff/backend/eigen/executor.hpp>

namespace host {

/// The pool that the host already has: threads that do what is posted, in turn.
class JobPool {
 public:
  explicit JobPool(int threads) {
    while (threads-- > 0) {
      workers_.emplace_back([this](const std::stop_token& stop) { work(stop); });
    }
  }

  void post(std::function<void()> job) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    posted_.notify_one();
  }

  std::int64_t threads() const noexcept { return static_cast<std::int64_t>(workers_.size()); }

 private:
  void work(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (posted_.wait(lock, stop, [this] { return !jobs_.empty(); })) {
      const std::function<void()> job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable_any posted_;
  std::deque<std::function<void()>> jobs_;
  std::vector<std::jthread> workers_;  // the last member: they stop before what they use goes
};

/// What the host adds for patchdiff: loops on its pool, from any thread and within loops.
class PoolExecutor {
 public:
  explicit PoolExecutor(JobPool& pool) : pool_(&pool) {}

  void parallel_for(std::int64_t n, const patchdiff::IndexTask& f) {
    const auto loop = std::make_shared<Loop>(n, f);
    for (std::int64_t helper = 0; helper < std::min(n - 1, pool_->threads()); ++helper) {
      pool_->post([loop] { loop->help(); });
    }
    loop->help();
    loop->wait();
  }

 private:
  /// Shared with helpers that start when all is done; they find no task left, and never look at `task`.
  struct Loop {
    Loop(std::int64_t n, const patchdiff::IndexTask& f) : tasks(n), task(f) {}

    void help() {
      for (std::int64_t index = next++; index < tasks; index = next++) {
        try {
          task(index);
        } catch (...) {
          const std::lock_guard lock(mutex);
          if (!error) error = std::current_exception();
        }
        if (++done == tasks) done.notify_all();
      }
    }

    void wait() {
      for (std::int64_t now = done; now < tasks; now = done) done.wait(now);
      if (error) std::rethrow_exception(error);
    }

    const std::int64_t tasks;
    const patchdiff::IndexTask& task;
    std::atomic<std::int64_t> next{0}, done{0};
    std::mutex mutex{};
    std::exception_ptr error{};
  };

  JobPool* pool_;
};

static_assert(patchdiff::Executor<PoolExecutor>);

}  // namespace host
