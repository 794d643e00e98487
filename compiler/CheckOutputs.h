//===- CheckOutputs.h - No output overwrites what is read ---------------------===//
#ifndef EDGECC_COMPILER_CHECKOUTPUTS_H
#define EDGECC_COMPILER_CHECKOUTPUTS_H

#include "compiler/Options.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

namespace edgecc {

/// Fails if `outputs`, or those of the caller, are the model, samples, a tokenizer or a file of external data, or lie in the
/// calibration cache.
llvm::Error checkOutputs(const Options &options, llvm::ArrayRef<files::NamedFile> outputs,
                         llvm::ArrayRef<std::string> externalFiles);

} // namespace edgecc
#endif // EDGECC_COMPILER_CHECKOUTPUTS_H
