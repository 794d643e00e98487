//===- StaticCode.h - Code that the application links (--code=static) ------------===//
#ifndef EDGECC_COMPILER_STATICCODE_H
#define EDGECC_COMPILER_STATICCODE_H

#include "compiler/codegen/Codegen.h"
#include <string>
#include <vector>

namespace edgecc {

struct StaticCode {
  std::string buildId;            ///< ties the object to the artifact: the runtime refuses another pair
  std::vector<std::string> files; ///< the object and the header
  uint64_t bytes = 0;             ///< of the object
};

/// Returns the paths of the object and the header beside `artifact`.
std::vector<std::string> staticCodeFiles(llvm::StringRef artifact);

/// Writes `model.o` and `model.h` beside `artifact` (`model.edge`). The header defines `model_code`, to be passed to
/// edgecc_model_open in edgecc_model_options.code.
llvm::Expected<StaticCode> writeStaticCode(CodeUnit &unit, mlir::ModuleOp lowered, llvm::StringRef artifact,
                                           llvm::StringRef compiler);

} // namespace edgecc
#endif // EDGECC_COMPILER_STATICCODE_H
