// Counts the threads on which LibTorch's parallel loop, a template of its headers, really runs: one alone where this
// file is compiled without OpenMP.
#include <ATen/Parallel.h>

#include <cstdio>
#include <mutex>
#include <set>
#include <thread>

int main() {
  at::set_num_threads(2);
  std::mutex mutex;
  std::set<std::thread::id> threads;
  at::parallel_for(0, 2, 1, [&](std::int64_t, std::int64_t) {
    const std::lock_guard lock(mutex);
    threads.insert(std::this_thread::get_id());
  });
  std::printf("%zu threads\n", threads.size());
  return threads.size() == 2 ? 0 : 1;
}
