// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <latch>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <patchdiff/data/prefetcher.hpp>

#include "support/catch.hpp"

namespace patchdiff {
namespace {

TEST_CASE("values come in order from any number of workers, as far ahead as may be") {
  for (const std::size_t workers : {1U, 2U, 5U}) {
    for (const std::size_t ahead : {1U, 3U, 64U}) {
      Prefetcher<std::uint64_t> squares([](std::uint64_t n) { return n * n; }, {.ahead = ahead, .workers = workers});
      std::size_t wrong = 0;
      for (std::uint64_t n = 0; n < 500; ++n) wrong += squares.next() != n * n;
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("workers work at the same time, and a value that is ready early waits for its turn") {
  constexpr std::uint64_t workers = 5;
  std::latch all(workers), later(workers - 1);
  Prefetcher<std::uint64_t> positions(
      [&](std::uint64_t position) {
        if (position < workers) all.arrive_and_wait();  // five at once, or the test never ends
        if (position == 0) later.wait();                // the first is ready last
        if (position > 0 && position < workers) later.count_down();
        return position;
      },
      {.ahead = 8, .workers = workers});
  for (std::uint64_t position = 0; position < 20; ++position) CHECK(positions.next() == position);
}

TEST_CASE("as much is made ahead as may be, and no more") {
  constexpr std::uint64_t ahead = 4;
  std::atomic<std::uint64_t> taken{0}, furthest{0};
  std::latch full(ahead);
  Prefetcher<std::uint64_t> positions(
      [&](std::uint64_t position) {
        const std::uint64_t lead = position - std::min(position, taken.load());
        for (std::uint64_t seen = furthest.load(); seen < lead && !furthest.compare_exchange_weak(seen, lead);) {
        }
        if (position < ahead) full.count_down();
        return position;
      },
      {.ahead = ahead, .workers = 3});
  full.wait();
  for (; taken < 300; ++taken) positions.next();
  CHECK(furthest >= ahead - 1);
  CHECK(furthest <= ahead);  // `taken` is counted a little late
}

TEST_CASE("what a worker throws is thrown at its turn, as it was and as often as it is asked for") {
  struct Broken : std::runtime_error {
    using std::runtime_error::runtime_error;
  };
  for (const std::size_t workers : {1U, 2U, 5U}) {
    Prefetcher<int> values(
        [](std::uint64_t position) {
          if (position == 3) throw Broken("third");
          if (position == 4) throw std::bad_alloc();
          return static_cast<int>(position);
        },
        {.ahead = 6, .workers = workers});
    for (int n = 0; n < 3; ++n) CHECK(values.next() == n);
    CHECK_THROWS_AS(values.next(), Broken);
    CHECK_THROWS_WITH(values.next(), "third");
    values.seek(4);
    CHECK_THROWS_AS(values.next(), std::bad_alloc);
    values.seek(5);
    CHECK(values.next() == 5);
    values.seek(2);
    CHECK(values.next() == 2);
    CHECK_THROWS_AS(values.next(), Broken);
  }
}

TEST_CASE("a position that failed is made again where it is sought") {
  for (const std::size_t workers : {1U, 2U, 5U}) {
    for (const std::uint64_t bad : {0U, 3U}) {
      std::atomic<bool> failed{false};
      Prefetcher<std::uint64_t> values(
          [&](std::uint64_t position) {
            if (position == bad && !failed.exchange(true)) throw std::runtime_error("once");
            return position;
          },
          {.ahead = 4, .workers = workers});
      for (std::uint64_t n = 0; n < bad; ++n) CHECK(values.next() == n);
      CHECK_THROWS_WITH(values.next(), "once");
      CHECK_THROWS_WITH(values.next(), "once");
      values.seek(bad);
      for (std::uint64_t n = bad; n < 10; ++n) CHECK(values.next() == n);
    }
  }
}

/// A position that tells when it is thrown away.
struct Tracked {
  std::uint64_t position = 0;
  std::latch* thrown_away = nullptr;
  Tracked(std::uint64_t at, std::latch* latch) : position(at), thrown_away(latch) {}
  Tracked(const Tracked&) = delete;
  ~Tracked() {
    if (thrown_away != nullptr) thrown_away->count_down();
  }
};

TEST_CASE("a short jump ahead keeps what was made, and each position is made once") {
  constexpr std::uint64_t end = 400;
  std::vector<std::atomic<int>> made(end + 64);
  Prefetcher<std::uint64_t> positions(
      [&](std::uint64_t position) {
        ++made[position];
        return position;
      },
      {.ahead = 32, .workers = 3});
  for (std::uint64_t position = 0; position < end; position += 9) {
    positions.seek(position);
    for (std::uint64_t n = 0; n < 3; ++n) CHECK(positions.next() == position + n);
    while (made[position + 8] == 0) std::this_thread::yield();  // so that the jump is a short one
  }
  for (std::uint64_t position = 0; position < end; ++position) CHECK(made[position] == 1);
}

TEST_CASE("after a jump nothing of before is handed out") {
  std::latch begun(1), jumped(1), ahead(1), late(1);
  Prefetcher<std::unique_ptr<Tracked>> positions(
      [&](std::uint64_t position) {
        if (position == 0) {
          begun.count_down();
          jumped.wait();
        }
        if (position == 101) ahead.count_down();  // what is handed out next is ready, in the slot that 0 was made for
        return std::make_unique<Tracked>(position, position == 0 ? &late : nullptr);
      },
      {.ahead = 2, .workers = 2});
  begun.wait();
  positions.seek(100);
  ahead.wait();
  jumped.count_down();
  late.wait();
  for (std::uint64_t position = 100; position < 110; ++position) CHECK(positions.next()->position == position);
  positions.seek(7);
  CHECK(positions.next()->position == 7);
}

TEST_CASE("the destructor waits for workers that are busy") {
  for (const std::ptrdiff_t workers : {1, 3}) {
    std::latch begun(workers), release(1);
    std::atomic<int> running{0};
    std::optional<Prefetcher<int>> values(
        std::in_place,
        [&](std::uint64_t) {
          ++running;
          begun.count_down();
          release.wait();
          --running;
          return 0;
        },
        PrefetchBounds{3, static_cast<std::size_t>(workers)});
    begun.wait();
    std::thread releaser([&] { release.count_down(); });
    values.reset();
    CHECK(running == 0);
    releaser.join();
  }
}

}  // namespace
}  // namespace patchdiff
