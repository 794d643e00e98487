#include "runtime/src/threadpool.h"

#include <sched.h>

namespace edgecc::rt {

// About 50 microseconds: longer than the gap between two kernels, too short to be felt by the battery.
static constexpr unsigned kSpins = 1500;
// The caller waits for tasks in flight only; after this many turns it lets others have the core.
static constexpr unsigned kSpinsBeforeYield = 4000;

static void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory");
#endif
}

ThreadPool::~ThreadPool() {
  stopping.store(true);
  pthread_mutex_lock(&mutex);
  pthread_cond_broadcast(&wake);
  pthread_mutex_unlock(&mutex);
  for (uint32_t i = 0; i < workers; ++i)
    pthread_join(handles[i], nullptr);
  pthread_cond_destroy(&wake);
  pthread_mutex_destroy(&mutex);
}

void ThreadPool::start(uint32_t threads) {
  threads = threads > kMaxThreads ? kMaxThreads : threads;
  while (workers + 1 < threads && pthread_create(&handles[workers], nullptr, workerMain, this) == 0)
    ++workers;
}

void *ThreadPool::workerMain(void *pool) {
  auto *self = static_cast<ThreadPool *>(pool);
  self->work(self->lanesTaken.fetch_add(1));
  return nullptr;
}

uint32_t ThreadPool::firstTask(uint32_t lane) const {
  const uint32_t total = count.load(std::memory_order_acquire), rest = total % threads();
  return lane * (total / threads()) + (lane < rest ? lane : rest);
}

uint32_t ThreadPool::runLane(uint32_t lane) {
  std::atomic<uint64_t> &claim = lanes[lane].claim;
  uint64_t word = claim.load(std::memory_order_acquire);
  uint32_t finished = 0;
  for (;;) {
    const uint32_t next = uint32_t(word);
    // Acquire: if this is a newer job's value, the closed word that came before it is visible too, and the claim below fails.
    edgecc_task run = task.load(std::memory_order_acquire);
    const int64_t *values = dims.load(std::memory_order_acquire);
    uint8_t *const *operands = buffers.load(std::memory_order_acquire);
    if (next == kClosed || next >= firstTask(lane + 1))
      return finished;
    if (!claim.compare_exchange_weak(word, word + 1, std::memory_order_acq_rel, std::memory_order_acquire))
      continue;
    run(values, operands, next);
    ++finished;
    ++word;
  }
}

void ThreadPool::runTasks(uint32_t own) {
  uint32_t finished = 0;
  for (uint32_t i = 0; i < threads(); ++i)
    finished += runLane(own + i < threads() ? own + i : own + i - threads());
  if (finished)
    done.fetch_add(finished, std::memory_order_release);
}

void ThreadPool::sleepUnlessChanged(const Lane &own, uint64_t seen) {
  pthread_mutex_lock(&mutex);
  sleepers.fetch_add(1);
  while (own.claim.load() >> 32 == seen && !stopping.load())
    pthread_cond_wait(&wake, &mutex);
  sleepers.fetch_sub(1);
  pthread_mutex_unlock(&mutex);
}

void ThreadPool::work(uint32_t own) {
  const Lane &lane = lanes[own];
  uint64_t seen = 0;
  while (!stopping.load(std::memory_order_relaxed)) {
    for (unsigned spin = 0; spin < kSpins && lane.claim.load(std::memory_order_relaxed) >> 32 == seen; ++spin)
      pause();
    if (lane.claim.load(std::memory_order_relaxed) >> 32 == seen)
      sleepUnlessChanged(lane, seen);
    seen = lane.claim.load(std::memory_order_acquire) >> 32;
    runTasks(own);
  }
}

void ThreadPool::parallelFor(edgecc_task function, const int64_t *values, uint8_t *const *operands, int64_t total) {
  // Task numbers of a job have 32 bits; generated code never comes near, but nothing forbids it.
  if (workers == 0 || total <= 1 || total >= kClosed) {
    for (int64_t i = 0; i < total; ++i)
      function(values, operands, i);
    return;
  }
  // Closed under the old number: a worker that looks now still waits for the new one.
  const uint64_t job = lanes[0].claim.load(std::memory_order_relaxed) >> 32;
  for (uint32_t lane = 0; lane < threads(); ++lane)
    lanes[lane].claim.store(job << 32 | kClosed);
  task.store(function, std::memory_order_release);
  dims.store(values, std::memory_order_release);
  buffers.store(operands, std::memory_order_release);
  count.store(uint32_t(total), std::memory_order_release);
  done.store(0, std::memory_order_relaxed);
  // Sequentially consistent with `sleepers`: either a worker sees the new job before it sleeps, or it is counted here.
  for (uint32_t lane = threads(); lane-- > 0;)
    lanes[lane].claim.store(uint64_t(uint32_t(job + 1)) << 32 | firstTask(lane));
  if (sleepers.load() > 0) {
    pthread_mutex_lock(&mutex);
    pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&mutex);
  }
  runTasks(0);
  for (unsigned spin = 0; done.load(std::memory_order_acquire) != uint32_t(total); ++spin) {
    if (spin < kSpinsBeforeYield)
      pause();
    else
      sched_yield();
  }
}

} // namespace edgecc::rt
