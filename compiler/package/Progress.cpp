//===- Progress.cpp ---------------------------------------------------------------===//
#include "compiler/package/Progress.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
namespace edgecc {

Progress::Progress(StringRef what, uint64_t total, bool enabled) : what(what), total(total), enabled(enabled) {}

void Progress::update(uint64_t done) {
  auto now = Clock::now();
  if (!enabled || total == 0 || now - last < std::chrono::milliseconds(150))
    return;
  last = now;
  drawn = true;
  double seconds = std::chrono::duration<double>(now - start).count(), rate = done / seconds;
  unsigned width = 30, filled = width * done / total;
  errs() << '\r' << what << " [" << std::string(filled, '#') << std::string(width - filled, '.') << "] "
         << format("%.2f / %.2f GB, %.0f MB/s, %.0f s left ", done / 1e9, total / 1e9, rate / 1e6, (total - done) / rate)
         << "\033[K";
  errs().flush();
}

Progress::~Progress() {
  if (drawn)
    errs() << "\r\033[K";
}

} // namespace edgecc
