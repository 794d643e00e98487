#include "tools/edgecc-bench/Machine.h"

#include "tools/edgecc-bench/Samples.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace edgecc::tools {
namespace {

/// Runs work(i) on so many threads at once; the seconds from their common start to the end of the last.
double together(unsigned threads, const std::function<void(unsigned)> &work) {
  std::atomic<unsigned> ready{0};
  std::atomic<bool> go{false};
  std::vector<std::thread> others;
  auto run = [&](unsigned i) {
    ++ready;
    while (!go)
      std::this_thread::yield();
    work(i);
  };
  for (unsigned i = 1; i < threads; ++i)
    others.emplace_back(run, i);
  while (ready != threads - 1)
    std::this_thread::yield();
  const Clock::time_point start = Clock::now();
  go = true;
  work(0);
  for (std::thread &other : others)
    other.join();
  return secondsSince(start);
}

/// The best of five runs of about 10 ms: nothing but interruptions makes a loop without memory slower.
double peakRate(const PeakLoop &loop, unsigned threads) {
  const double perTurn = loop.run(0);
  int64_t turns = 1 << 12;
  for (double seconds = 0; seconds < 0.01 && turns < int64_t(1) << 40; turns *= 2)
    seconds = together(threads, [&](unsigned) { loop.run(turns); });
  double best = 0;
  for (int i = 0; i < 5; ++i)
    best = std::max(best, perTurn * double(turns) * threads / together(threads, [&](unsigned) { loop.run(turns); }));
  return best;
}

uint8_t *allocate(size_t bytes) {
  constexpr size_t kHuge = size_t(2) << 20;
  void *place = mmap(nullptr, bytes + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (place == MAP_FAILED)
    return nullptr;
  uint8_t *data = reinterpret_cast<uint8_t *>((reinterpret_cast<uintptr_t>(place) + kHuge - 1) / kHuge * kHuge);
  // Huge pages: the limit is the memory's, not that of the page tables.
  madvise(data, bytes, MADV_HUGEPAGE);
  memset(data, 1, bytes); // pages that were never written are all one page of zeros
  return data;
}

} // namespace

// A median: memory is shared with neighbours, and what is compared with it is a median too.
double readRate(const uint8_t *data, size_t bytes, unsigned threads) {
  static std::atomic<uint64_t> sink; // keeps the sums alive
  const size_t part = bytes / threads / 4096 * 4096;
  Samples rates;
  for (int i = 0; i < 3; ++i)
    rates.add(double(part * threads) / together(threads, [&](unsigned t) { sink += sumOf(data + t * part, part); }));
  return rates.median();
}

size_t Machine::defaultBuffer() {
  const long pages = sysconf(_SC_AVPHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  const size_t quarter = size_t(std::max(pages, 4096l)) / 4 * size_t(page);
  return std::min(size_t(1) << 30, quarter) / 4096 * 4096;
}

std::string Machine::cpuName() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.rfind("model name", 0) == 0)
      if (const size_t colon = line.find(": "); colon != std::string::npos)
        return line.substr(colon + 2);
  return "";
}

const char *Machine::int8Name() { return int8Peak().name; }
const char *Machine::f32Name() { return f32Peak().name; }

Machine::Machine(size_t bytes) : bufferBytes(bytes) {
  int questions[2], answers[2];
  if (pipe(questions) != 0)
    return;
  if (pipe(answers) != 0) {
    close(questions[0]);
    close(questions[1]);
    return;
  }
  child = fork();
  if (child == 0) {
    close(questions[1]);
    close(answers[0]);
    serve(questions[0], answers[1]);
    _exit(0);
  }
  close(questions[0]);
  close(answers[1]);
  toChild = questions[1];
  fromChild = answers[0];
}

Machine::~Machine() {
  close(toChild); // the child reads no more questions, and ends
  close(fromChild);
  if (child > 0)
    waitpid(child, nullptr, 0);
}

void Machine::serve(int questions, int answers) {
  Question question;
  while (::read(questions, &question, sizeof(question)) == sizeof(question)) {
    double answer = 0;
    if (question.what == 'i')
      answer = peakRate(int8Peak(), question.threads);
    else if (question.what == 'f')
      answer = peakRate(f32Peak(), question.threads);
    else if (buffer || (buffer = allocate(bufferBytes)))
      answer = readRate(buffer, bufferBytes, question.threads);
    if (write(answers, &answer, sizeof(answer)) != sizeof(answer))
      return;
  }
}

double Machine::ask(Question question) {
  double answer = 0;
  if (child <= 0 || write(toChild, &question, sizeof(question)) != sizeof(question) ||
      ::read(fromChild, &answer, sizeof(answer)) != sizeof(answer))
    return 0;
  return answer;
}

} // namespace edgecc::tools
