//===- Compiler.h - A model in, a file out --------------------------------------===//
#ifndef EDGECC_COMPILER_COMPILER_H
#define EDGECC_COMPILER_COMPILER_H

#include "compiler/Options.h"
#include "compiler/Report.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"

namespace edgecc {

/// The reason has been given as MLIR diagnostics; there is nothing to add.
struct AlreadyReported : llvm::ErrorInfo<AlreadyReported> {
  static char ID;
  void log(llvm::raw_ostream &os) const override { os << "the model could not be compiled"; }
  std::error_code convertToErrorCode() const override { return llvm::inconvertibleErrorCode(); }
};

/// All dialects that a module may hold between import and code generation.
void registerDialects(mlir::DialectRegistry &registry);

/// The one way through: import, normalize, compress if asked for, pack, then for each CPU variant lower and generate code, then
/// package. Stops at `options.emit` and writes that form. The report is complete for Emit::EdgeFile and holds what was reached
/// otherwise. No output file is left behind by a compile that fails.
llvm::Expected<Report> compile(const Options &options, mlir::MLIRContext &context);

/// The same as far as the passes go that lose something: what the artifact would compute, as `edge` ops. Writes nothing.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> compressed(const Options &options, mlir::MLIRContext &context);

/// The passes of all phases that these options run, in the syntax of edgecc-opt's --pass-pipeline, one phase a line.
std::string describePipeline(const Options &options, mlir::MLIRContext &context);

} // namespace edgecc
#endif // EDGECC_COMPILER_COMPILER_H
