//===- Diagnostics.h - MLIR diagnostics for people -------------------------------===//
#ifndef EDGECC_TOOLS_EDGECC_DIAGNOSTICS_H
#define EDGECC_TOOLS_EDGECC_DIAGNOSTICS_H

#include "mlir/IR/Diagnostics.h"
#include <mutex>
#include <string>
#include <vector>

namespace edgecc {

/// Prints errors and warnings as `edgecc: error: /model/layers.3/TopK: ...`: users know the nodes of their graph, not
/// positions in IR they never see. Remarks are kept, and printed only if asked for.
class DiagnosticPrinter {
public:
  DiagnosticPrinter(llvm::StringRef program, mlir::MLIRContext &context, bool showRemarks);

  const std::vector<std::string> &remarks() const { return kept; }
  unsigned errors() const { return errorCount; }

private:
  mlir::LogicalResult handle(mlir::Diagnostic &diagnostic);

  llvm::StringRef program;
  bool showRemarks;
  std::mutex mutex; // passes run in parallel
  std::vector<std::string> kept;
  unsigned errorCount = 0;
  mlir::ScopedDiagnosticHandler handler;
};

} // namespace edgecc
#endif // EDGECC_TOOLS_EDGECC_DIAGNOSTICS_H
