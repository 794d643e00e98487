//===- Snapshots.h - The model after each pass --------------------------------===//
#ifndef EDGECC_COMPILER_DIFF_SNAPSHOTS_H
#define EDGECC_COMPILER_DIFF_SNAPSHOTS_H

#include "compiler/Options.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"

namespace edgecc {

struct Snapshot {
  std::string pass; ///< the flag of the pass that made it
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

/// Compiles as far as the passes that change what is computed go. The first snapshot is the normalized model; each further one
/// comes from a pass that changed something.
llvm::Expected<std::vector<Snapshot>> takeSnapshots(Options options, mlir::MLIRContext &context);

} // namespace edgecc
#endif // EDGECC_COMPILER_DIFF_SNAPSHOTS_H
