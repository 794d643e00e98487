//===- Signals.cpp ----------------------------------------------------------===//
//
// Handlers may call what is async-signal-safe only: no allocation, no lock, no stream.
//
//===----------------------------------------------------------------------===//
#include "tools/edgecc/Signals.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Signals.h"
#include <atomic>
#include <csignal>
#include <ctime>
#include <fcntl.h>
#include <unistd.h>

using namespace llvm;
namespace edgecc {
namespace {

const char *nameOfProgram = "";
struct sigaction llvmsBusError;
timer_t crashTimer;

void say(StringRef text) { (void)!::write(STDERR_FILENO, text.data(), text.size()); }

/// A line of its own, where a progress bar may stand.
void beginError() {
  say(isatty(STDERR_FILENO) ? "\r\033[K" : "");
  say(nameOfProgram);
  say(": error: ");
}

/// LLVM has removed unfinished files by now.
void onInterrupt() {
  beginError();
  say("interrupted; no output was written\n");
  _exit(130);
}

void onHang(int) {
  beginError();
  say("crashed, and the stack cannot be shown\n");
  std::signal(SIGABRT, SIG_DFL);
  raise(SIGABRT);
}

/// Showing the stack allocates and takes locks; when the crashed thread, or one that waits for it, holds one of them, that never
/// ends. Not alarm(): LLVM sets that itself meanwhile.
void limitCrash(void *) {
  struct itimerspec seconds = {};
  seconds.it_value.tv_sec = 10;
  timer_settime(crashTimer, 0, &seconds, nullptr);
}

/// Writes the name of the file that is mapped at `address`.
void sayMappedFile(uintptr_t address) {
  // Lines are "begin-end permissions offset device inode   path".
  static char text[1 << 16], line[4096 + 128];
  size_t length = 0;
  int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  for (ssize_t got; (got = read(maps, text, sizeof text)) > 0;)
    for (ssize_t i = 0; i < got; ++i) {
      if (text[i] != '\n') {
        length += length < sizeof line;
        line[length - 1] = text[i];
        continue;
      }
      StringRef entry(line, length);
      length = 0;
      uintptr_t begin, end;
      size_t path = entry.find('/');
      if (entry.consumeInteger(16, begin) || !entry.consume_front("-") || entry.consumeInteger(16, end) || address < begin ||
          address >= end || path == StringRef::npos)
        continue;
      say(StringRef(line, size_t(entry.end() - line)).substr(path));
      return;
    }
  say("a file");
}

/// Models and weights are read through mappings: what cannot be read is this signal.
void onBusError(int signal, siginfo_t *info, void *) {
  if (info->si_code != BUS_ADRERR) {
    sigaction(SIGBUS, &llvmsBusError, nullptr);
    raise(SIGBUS);
    return;
  }
  static std::atomic_flag said = ATOMIC_FLAG_INIT;
  while (said.test_and_set())
    pause();                   // another thread had the same
  sys::RunInterruptHandlers(); // removes unfinished files
  beginError();
  say("cannot read ");
  sayMappedFile(reinterpret_cast<uintptr_t>(info->si_addr));
  say(": it has become shorter, or its disk fails; no output was written\n");
  _exit(1);
}

} // namespace

void handleSignals(const char *program) {
  nameOfProgram = program;
  sys::SetInterruptFunction(onInterrupt);
  struct sigevent timeout = {};
  timeout.sigev_notify = SIGEV_SIGNAL;
  timeout.sigev_signo = SIGVTALRM;
  if (timer_create(CLOCK_MONOTONIC, &timeout, &crashTimer) == 0) {
    std::signal(SIGVTALRM, onHang);
    sys::AddSignalHandler(limitCrash, nullptr);
  }
  struct sigaction action = {};
  action.sa_sigaction = onBusError;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, &llvmsBusError);
  std::signal(SIGXFSZ, SIG_IGN); // a file size limit then shows as an error of the write
}

} // namespace edgecc
