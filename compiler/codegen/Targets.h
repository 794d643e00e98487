//===- Targets.h - The rows of targets.def -----------------------------------===//
#ifndef EDGECC_COMPILER_CODEGEN_TARGETS_H
#define EDGECC_COMPILER_CODEGEN_TARGETS_H

#include "dialects/edge/EdgeDialect.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"
#include "llvm/Target/TargetMachine.h"
#include <memory>

namespace edgecc {

/// One code image. All strings live as long as the program.
struct Variant {
  llvm::StringRef name, arch, triple, cpu, tune, llvmFeatures;
  llvm::SmallVector<llvm::StringRef, 6> features; ///< as the file and the runtime name them

  edge::TargetAttr attribute(mlir::MLIRContext *context) const;

  /// Fails only if LLVM was built without the architecture.
  llvm::Expected<std::unique_ptr<llvm::TargetMachine>> machine() const;
};

/// What `--target` names.
struct Target {
  std::string name;
  uint64_t alignment = 4096;             ///< of weights and code in the file, bytes
  std::vector<const Variant *> variants; ///< oldest first
};

/// The target called `name`; "host" has the one variant that suits this machine best. An unknown name fails with the known ones.
llvm::Expected<Target> findTarget(llvm::StringRef name);

/// Narrows a target to the variant called `name`.
llvm::Error selectVariant(Target &target, llvm::StringRef name);

/// The names for `--help`, "host" first.
std::vector<std::string> targetNames();

} // namespace edgecc
#endif // EDGECC_COMPILER_CODEGEN_TARGETS_H
