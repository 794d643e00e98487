//===- Machine.h - What this machine can do at most -------------------------===//
//
// A time says nothing without its limit, and on a shared machine the limit drifts: it is measured beside each figure. It is done
// in a process of its own, so that its buffer does not count as the model's memory and its pages are not written twice after a
// fork.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_TOOLS_BENCH_MACHINE_H
#define EDGECC_TOOLS_BENCH_MACHINE_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <sys/types.h>

namespace edgecc::tools {

class Machine {
public:
  /// Starts the measuring process; do it before the model is opened. `bufferBytes`: what is read, much more than the caches.
  explicit Machine(size_t bufferBytes = defaultBuffer());
  ~Machine();
  Machine(const Machine &) = delete;
  Machine &operator=(const Machine &) = delete;

  /// Bytes per second of a plain read by so many threads; 0 if the process could not be started.
  double read(unsigned threads) { return ask({'r', threads}); }
  /// Multiply-adds of 8-bit integers, from registers, per second.
  double int8(unsigned threads) { return ask({'i', threads}); }
  /// Multiply-adds of f32, from registers, per second.
  double f32(unsigned threads) { return ask({'f', threads}); }

  /// "AVX-512 VNNI", "sdot", ...: the instruction that int8() uses.
  static const char *int8Name();
  static const char *f32Name();
  /// From /proc/cpuinfo; "" if it does not say.
  static std::string cpuName();
  /// 1 GiB, or a quarter of the free memory if that is less.
  static size_t defaultBuffer();

private:
  struct Question {
    char what;
    unsigned threads;
  };
  double ask(Question question);
  void serve(int questions, int answers);

  size_t bufferBytes;
  uint8_t *buffer = nullptr; ///< in the measuring process only
  int toChild = -1, fromChild = -1;
  pid_t child = -1;
};

/// `turns` turns of a loop without memory; gives the multiply-adds of one turn. 0 turns only asks.
using Peak = double (*)(int64_t turns);
struct PeakLoop {
  const char *name, *feature; ///< the instruction, and what the processor must have for it
  Peak run;
};
/// The best loop that this processor has.
PeakLoop int8Peak();
PeakLoop f32Peak();
/// Bytes per second of a plain read of this memory by so many threads; the median of three passes.
double readRate(const uint8_t *data, size_t bytes, unsigned threads);
/// The sum of all bytes as words, so that no read can be left out. `bytes` is a multiple of 512.
uint64_t sumOf(const uint8_t *data, size_t bytes);

} // namespace edgecc::tools
#endif // EDGECC_TOOLS_BENCH_MACHINE_H
