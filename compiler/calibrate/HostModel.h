//===- HostModel.h - A module, compiled for this machine and loaded ----------===//
#ifndef EDGECC_COMPILER_CALIBRATE_HOSTMODEL_H
#define EDGECC_COMPILER_CALIBRATE_HOSTMODEL_H

#include "compiler/codegen/Codegen.h"
#include "edgecc/edgecc.hpp"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"

namespace edgecc {

/// A contiguous, row-major array that somebody else owns.
struct ArrayView {
  edgecc_type type;
  llvm::ArrayRef<int64_t> shape;
  const void *data;
};

class HostModel {
public:
  /// `module`: `edge` ops, with the function main; it is packed, lowered and translated on the spot. `context`: positions that
  /// the session has room for, if the model has a capacity. Errors say what the passes said.
  static llvm::Expected<HostModel> load(mlir::OwningOpRef<mlir::ModuleOp> module, int64_t context, unsigned threads,
                                        CodeUnit::Effort effort = CodeUnit::Effort::Full);

  /// Runs main from the beginning: position 0, states empty. `find` has the array of an input by its name, or nothing.
  llvm::Error run(llvm::function_ref<std::optional<ArrayView>(llvm::StringRef)> find);
  /// Of the last run.
  llvm::Expected<edgecc_output> output(size_t index) const;

private:
  Model model;
  Session session;
};

} // namespace edgecc
#endif // EDGECC_COMPILER_CALIBRATE_HOSTMODEL_H
