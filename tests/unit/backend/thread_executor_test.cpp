// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <latch>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <vector>

#include <patchdiff/backend/eigen/blocks.hpp>
#include <patchdiff/backend/eigen/executor.hpp>
#include <patchdiff/backend/eigen/thread_executor.hpp>
#include <patchdiff/core/error.hpp>

#include "custom_executor_eigen/pool_executor.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"

namespace patchdiff {
namespace {

/// A host's pool: its own signature, last task first.
struct Backwards {
  int loops = 0;
  void parallel_for(std::int64_t n, const std::function<void(std::int64_t)>& f) {
    ++loops;
    while (n-- > 0) f(n);
  }
};

/// The example's executor with as many threads, the calling one among them.
struct OnJobPool {
  explicit OnJobPool(int threads) : pool(threads - 1) {}
  void parallel_for(std::int64_t n, const IndexTask& f) { host::PoolExecutor(pool).parallel_for(n, f); }
  host::JobPool pool;
};

TEMPLATE_TEST_CASE("a loop calls every task once, on any number of threads", "", ThreadExecutor, OnJobPool) {
  for (const int threads : {1, 2, 3, 7}) {
    TestType executor(threads);
    const ExecutorReference reference = executor;
    for (const std::int64_t tasks : {0, 1, 2, 1000}) {
      std::vector<std::atomic<int>> calls(static_cast<std::size_t>(tasks));
      reference.parallel_for(tasks, [&](std::int64_t task) { ++calls[static_cast<std::size_t>(task)]; });
      for (const std::atomic<int>& count : calls) CHECK(count == 1);
    }
  }
}

TEMPLATE_TEST_CASE("two threads work at the same time", "", ThreadExecutor, OnJobPool) {
  TestType executor(2);
  std::latch both(2);
  executor.parallel_for(2, IndexTask([&](std::int64_t) { both.arrive_and_wait(); }));
  CHECK(both.try_wait());
}

TEMPLATE_TEST_CASE("an exception of a task comes back, and the executor works on", "", ThreadExecutor, OnJobPool) {
  for (const int threads : {1, 3}) {
    TestType executor(threads);
    const ExecutorReference reference = executor;
    std::atomic<int> calls = 0;
    const auto fail_at_5 = [&](std::int64_t task) {
      ++calls;
      if (task == 5) throw std::runtime_error("task 5");
    };
    CHECK_THROWS_MATCHES(reference.parallel_for(1000, fail_at_5), std::runtime_error,
                         Catch::Matchers::Message("task 5"));
    CHECK(calls >= 6);
    if (threads == 1 && std::is_same_v<TestType, ThreadExecutor>) CHECK(calls == 6);
    calls = 0;
    reference.parallel_for(5, fail_at_5);
    CHECK(calls == 5);
  }
}

TEMPLATE_TEST_CASE("loops within tasks and from several threads at once are done whole", "", ThreadExecutor,
                   OnJobPool) {
  TestType executor(3);
  const ExecutorReference reference = executor;
  std::atomic<std::int64_t> sum = 0;
  const auto nested = [&] {
    reference.parallel_for(
        20, [&](std::int64_t) { reference.parallel_for(10, [&](std::int64_t inner) { sum += inner; }); });
  };
  {
    std::vector<std::jthread> callers;
    for (int caller = 0; caller < 4; ++caller) callers.emplace_back(nested);
  }
  CHECK(sum == 4 * 20 * 45);
}

TEST_CASE("a host's pool of its own signature is an executor") {
  Backwards pool;
  const ExecutorReference reference = pool, serial;
  std::vector<std::int64_t> order;
  reference.parallel_for(3, [&](std::int64_t task) { order.push_back(task); });
  CHECK(order == std::vector<std::int64_t>{2, 1, 0});
  CHECK(pool.loops == 1);
  serial.parallel_for(2, [&](std::int64_t task) { order.push_back(task); });
  CHECK(order == std::vector<std::int64_t>{2, 1, 0, 0, 1});
  CHECK(reference == ExecutorReference(pool));
  struct Heir : Backwards {
  } heir;
  CHECK(ExecutorReference(heir) == ExecutorReference(static_cast<Backwards&>(heir)));  // by whatever type
  CHECK_FALSE(reference == serial);
  CHECK(serial.is_serial());
}

TEST_CASE("blocks cover every element once, and do not cross rows") {
  for (const std::int64_t elements : {std::int64_t{0}, std::int64_t{1}, blocks::length, blocks::length + 1}) {
    for (const std::int64_t rows : {0, 1, 3}) {
      std::vector<int> touched(static_cast<std::size_t>(rows * elements));
      blocks::for_row_blocks({}, rows, elements, [&](std::int64_t row, std::int64_t first, std::int64_t count) {
        REQUIRE((count > 0 && count <= blocks::length && first + count <= elements));
        for (std::int64_t i = 0; i < count; ++i) ++touched[static_cast<std::size_t>(row * elements + first + i)];
      });
      CHECK(touched == std::vector<int>(touched.size(), 1));
    }
  }
  int tasks = 0;
  Backwards pool;
  blocks::for_rows(pool, 1000, blocks::length / 100, [&](std::int64_t) { ++tasks; });
  CHECK(tasks == 1000);
}

TEST_CASE("ThreadExecutor counts the calling thread, and refuses no threads at all") {
  CHECK(ThreadExecutor(3).threads() == 3);
  CHECK_ERROR(ConfigError, "ThreadExecutor: threads: expected at least 1, got 0", ThreadExecutor(0));
}

}  // namespace
}  // namespace patchdiff
