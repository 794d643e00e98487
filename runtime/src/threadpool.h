//===- threadpool.h - parallel_for of generated code ------------------------===//
//
// Why our own: a decode step runs hundreds of kernels of some tens of microseconds each, so starting one may cost neither an
// allocation nor a lock nor a system call. Workers spin for a moment after each job and sleep when nothing comes.
//
// Tasks that follow each other lie beside each other in memory, so each thread has a lane of them: reading on where it was is
// what the hardware's prefetchers are made for. They are claimed one by one, and a thread whose lane is empty goes on with the
// others': phone cores are not equal, and a static split would wait for the slowest.
//
// A lane is one 64-bit word, the job's number and its next task; who advances it has claimed a task. While a job is replaced all
// lanes are closed, so a worker that read an old job can never claim from the new one.
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
  static constexpr uint32_t kClosed = 0xffffffffu;

  struct alignas(64) Lane {
    std::atomic<uint64_t> claim{kClosed}; ///< job number << 32 | next task
  };

  static void *workerMain(void *pool);
  void work(uint32_t own);
  /// Claims and runs tasks of the current job until none is left, those of lane `own` first.
  void runTasks(uint32_t own);
  uint32_t runLane(uint32_t lane);
  /// The first task of a lane; of the one behind the last, the number of tasks.
  uint32_t firstTask(uint32_t lane) const;
  void sleepUnlessChanged(const Lane &own, uint64_t seen);

  Lane lanes[kMaxThreads]; ///< the caller's is the first
  // Written by the caller once per job; workers read them.
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
  std::atomic<uint32_t> lanesTaken{1};
};

} // namespace edgecc::rt
#endif // EDGECC_RUNTIME_THREADPOOL_H
