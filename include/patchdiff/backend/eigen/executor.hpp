// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <type_traits>

namespace patchdiff {

/// A task of a parallel loop, seen through a reference: calls f(i). Lives no longer than the loop.
class IndexTask {
 public:
  template <std::invocable<std::int64_t> F>
  explicit IndexTask(const F& f) noexcept
      : task_(&f), call_([](const void* task, std::int64_t index) { (*static_cast<const F*>(task))(index); }) {}

  void operator()(std::int64_t index) const { call_(task_, index); }

 private:
  const void* task_;
  void (*call_)(const void*, std::int64_t);
};

/// Whatever runs loops: a host's thread pool fits with one function.
///
/// `parallel_for(n, f)` calls f(i) once for each i in [0, n), in any order and on any threads, and returns when all
/// calls are done; an exception of f comes back to the caller. The library may call it from several threads at once.
template <class E>
concept Executor = requires(E& executor, std::int64_t n, const IndexTask& f) {
  executor.parallel_for(n, f);
};

/// An executor that someone else owns and that outlives all work; by default the calling thread does all work.
class ExecutorReference {
 public:
  ExecutorReference() = default;

  /// Refers to the executor, which outlives it.
  template <class E>
    requires(!std::same_as<E, ExecutorReference> && !std::is_const_v<E>)
  ExecutorReference(E& executor)
      : executor_(&executor),
        run_([](void* pool, std::int64_t n, const IndexTask& f) { static_cast<E*>(pool)->parallel_for(n, f); }) {
    // As a constraint, g++ would only say that no constructor fits.
    static_assert(Executor<E>, "EigenDevice: the executor does not fit the concept Executor (eigen/executor.hpp)");
  }

  bool is_serial() const noexcept { return executor_ == nullptr; }

  /// Calls f(i) once for each i in [0, n); one task alone runs on the calling thread.
  template <std::invocable<std::int64_t> F>
  void parallel_for(std::int64_t n, const F& f) const {
    const Run run = n <= 1 ? &run_here : run_;
    run(executor_, n, IndexTask(f));  // on this thread too: else each loop's body would be compiled twice
  }

  /// Calls f(begin, end) for fixed blocks of [0, count): the same ones whatever the executor, hence the same bits.
  template <std::invocable<std::int64_t, std::int64_t> F>
  void parallel_for_blocks(std::int64_t count, std::int64_t block, const F& f) const {
    parallel_for((count + block - 1) / block,
                 [&](std::int64_t index) { f(index * block, std::min(count, (index + 1) * block)); });
  }

  /// Whether both refer to the same executor; each shared library may have a caller of its own.
  friend bool operator==(const ExecutorReference& a, const ExecutorReference& b) noexcept {
    return a.executor_ == b.executor_;
  }

 private:
  template <std::floating_point Scalar>
  friend struct EigenBackend;  // tells executors apart in errors

  using Run = void (*)(void* executor, std::int64_t n, const IndexTask& f);

  static void run_here(void*, std::int64_t n, const IndexTask& f) {
    for (std::int64_t index = 0; index < n; ++index) f(index);
  }

  void* executor_ = nullptr;
  Run run_ = &run_here;
};

}  // namespace patchdiff
