//===- Signals.h - What ends a compile from outside ------------------------===//
#pragma once

namespace edgecc {

/// Ctrl-C and friends, a crash and a mapped file that cannot be read all end the program, soon, with a sentence, and without an
/// unfinished file. Call before InitLLVM: LLVM calls the handlers of a crash in the order in which they were added.
void handleSignals(const char *program);

} // namespace edgecc
