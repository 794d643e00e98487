//===- Frontend.h - ONNX files to the onnx dialect --------------------------===//
#ifndef EDGECC_COMPILER_FRONTEND_FRONTEND_H
#define EDGECC_COMPILER_FRONTEND_FRONTEND_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace edgecc::onnx {

struct ImportOptions {
  /// Folders, beside the model's own, in which external data may lie.
  std::vector<std::string> weightsDirs;
  /// Receives the paths of the files of external data, if not null.
  std::vector<std::string> *externalFiles = nullptr;
  /// Constants up to this size become `dense`.
  size_t inlineBytes = 1024;
  /// Local functions are inlined; a file that multiplies into more nodes than this is refused.
  size_t maxNodes = 1'000'000;
  /// A graph is no error for what cannot be imported: such nodes are `refused`, and other problems stand in `onnx.problems` of
  /// the module. What compiles it can say these with its own.
  bool placeholders = false;
};

/// Reads an ONNX file, binary or text, into a module with one func.func @main of onnx ops. Large constants borrow from the
/// mapped files, which live as long as `context`. The error is for the user: it begins with the path, and lists everything
/// in the graph that cannot be imported, one line each.
///
/// The module carries onnx.sha256 (of the file), onnx.ir_version, onnx.opset, onnx.producer and onnx.metadata.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> importOnnx(llvm::StringRef path, mlir::MLIRContext &context,
                                                             const ImportOptions &options = {});

/// The same for bytes at hand; external data is looked for beside `path`.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> importOnnxBytes(std::string bytes, llvm::StringRef path,
                                                                  mlir::MLIRContext &context, const ImportOptions &options = {});

} // namespace edgecc::onnx
#endif // EDGECC_COMPILER_FRONTEND_FRONTEND_H
