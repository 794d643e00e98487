#include "runtime/src/threadpool.h"

#include <atomic>
#include <gtest/gtest.h>
#include <unistd.h>
#include <vector>

using edgecc::rt::ThreadPool;

namespace {

// Marks its task; two runs of one task would show as 2.
void mark(const int64_t *dims, uint8_t *const *buffers, int64_t task) { buffers[0][task] = uint8_t(buffers[0][task] + dims[0]); }

TEST(ThreadPool, RunsEachTaskOnce) {
  for (uint32_t threads : {1u, 2u, 5u}) {
    ThreadPool pool;
    pool.start(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int round = 0; round < 20000; ++round) {
      const int64_t count = round % 37, one = 1;
      uint8_t marks[40] = {};
      uint8_t *buffers[] = {marks};
      pool.parallelFor(mark, &one, buffers, count);
      for (int64_t i = 0; i < 40; ++i)
        ASSERT_EQ(marks[i], i < count) << "round " << round << ", task " << i;
    }
  }
}

// The first task waits for all others: whoever has it leaves the rest of its lane to the other threads.
void waitForOthers(const int64_t *dims, uint8_t *const *buffers, int64_t task) {
  auto *ended = reinterpret_cast<std::atomic<int64_t> *>(buffers[0]);
  for (int turn = 0; task == 0 && turn < 5000 && ended->load() < dims[0] - 1; ++turn)
    usleep(1000);
  buffers[1][task] = uint8_t(ended->fetch_add(1));
}

TEST(ThreadPool, TakesTasksOfASlowThread) {
  ThreadPool pool;
  pool.start(2);
  const int64_t count = 9;
  std::atomic<int64_t> ended{0};
  uint8_t order[9];
  uint8_t *buffers[] = {reinterpret_cast<uint8_t *>(&ended), order};
  pool.parallelFor(waitForOthers, &count, buffers, count);
  EXPECT_EQ(order[0], count - 1);
}

TEST(ThreadPool, WakesAfterSleep) {
  ThreadPool pool;
  pool.start(4);
  const int64_t one = 1;
  for (int round = 0; round < 20; ++round) {
    usleep(2000);
    std::vector<uint8_t> marks(100, 0);
    uint8_t *buffers[] = {marks.data()};
    pool.parallelFor(mark, &one, buffers, 100);
    EXPECT_EQ(marks, std::vector<uint8_t>(100, 1));
  }
}

TEST(ThreadPool, StartsAndStopsWithoutWork) {
  for (int round = 0; round < 50; ++round) {
    ThreadPool pool;
    pool.start(3);
  }
}

} // namespace
