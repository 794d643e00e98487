//===- threadpool.h - parallel_for of generated code ------------------------===//
//
// Why our own: a decode step runs hundreds of kernels of some tens of microseconds each, so starting one may cost neither an
// allocation nor a lock nor a system call. Workers spin for a moment after each job and sleep when nothing comes.
//
// One 64-bit word holds the job's number and its next task; a worker claims a task by advancing it. While a job is replaced the
// word is closed, so a worker that read an old job can never claim from the new one. Tasks are claimed one by one: phone cores
// are not equal, and a static split would wait for the slowest.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_THREADPOOL_H
#define EDGECC_RUNTIME_THREADPOOL_H

#include "edgecc/abi.h"

#include <atomic>
#include <pthread.h>

namespace edgecc::rt {

class ThreadPool {
public:
  static constexpr uint32_t kMaxThreads = 64;

  ThreadPool() = default;
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;
  /// Waits for the workers to end; no job may be running.
  ~ThreadPool();

  /// Starts `threads - 1` workers, fewer if the system has no more to give.
  void start(uint32_t threads);
  uint32_t threads() const { return workers + 1; }

  /// Runs task(dims, buffers, i) for i in [0, count) on the workers and the caller; returns when all are done.
  void parallelFor(edgecc_task task, const int64_t *dims, uint8_t *const *buffers, int64_t count);

private:
  static void *workerMain(void *pool);
  void work();
  /// Claims and runs tasks of the current job until none is left.
  void runTasks();
  void sleepUnlessChanged(uint64_t seen);

  static constexpr uint32_t kClosed = 0xffffffffu;

  // Written by the caller once per job; workers read them.
  alignas(64) std::atomic<uint64_t> claim{kClosed}; ///< job number << 32 | next task
  alignas(64) std::atomic<edgecc_task> task{nullptr};
  std::atomic<const int64_t *> dims{nullptr};
  std::atomic<uint8_t *const *> buffers{nullptr};
  std::atomic<uint32_t> count{0};
  // Written by everyone.
  alignas(64) std::atomic<uint32_t> done{0};
  alignas(64) std::atomic<uint32_t> sleepers{0};
  std::atomic<bool> stopping{false};
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
  pthread_t handles[kMaxThreads];
  uint32_t workers = 0;
};

} // namespace edgecc::rt
#endif // EDGECC_RUNTIME_THREADPOOL_H
