//===- CompileFlags.h - The flags of every program that compiles -------------===//
#ifndef EDGECC_TOOLS_EDGECC_COMPILEFLAGS_H
#define EDGECC_TOOLS_EDGECC_COMPILEFLAGS_H

#include "compiler/Options.h"
#include "llvm/Support/CommandLine.h"

namespace edgecc {

/// What is shown by --help.
extern llvm::cl::OptionCategory compileFlags;
extern llvm::cl::opt<bool> remarksFlag, quietFlag;

/// The model and what shall be made of it; the rest of the options is left to the program. Plugins are loaded on the way. Call
/// before anything is compiled: linking in process resets all flags to their defaults.
llvm::Expected<Options> collectCompileFlags(bool hasOtherSamples = false);

} // namespace edgecc
#endif // EDGECC_TOOLS_EDGECC_COMPILEFLAGS_H
