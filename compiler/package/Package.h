//===- Package.h - plan ops and code to model.edge ------------------------------===//
#ifndef EDGECC_COMPILER_PACKAGE_PACKAGE_H
#define EDGECC_COMPILER_PACKAGE_PACKAGE_H

#include "compiler/codegen/Codegen.h"
#include "dialects/plan/PlanDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include <string>

namespace edgecc {

struct PackageOptions {
  std::string output;        ///< path of the file to write
  uint64_t alignment = 4096; ///< of weights and code in the file, bytes
  std::string compiler;      ///< "edgecc 0.1.0"
  std::string commandLine;
  std::string sourceSha256;  ///< hex; empty if unknown
  std::string ledger = "[]"; ///< JSON: what each lossy pass did
  std::string text;          ///< the text segment (runtime/text/format.h); empty if there is none
  std::string buildId;       ///< of the code to link with the file; empty when the code is in it
  bool progress = false;     ///< draw a bar on stderr while weights are written
};

struct PackageSummary {
  uint64_t fileBytes = 0, metadataBytes = 0, weightBytes = 0;
};

/// Writes one artifact of the plans of all CPU variants with their images, in the same order; without images, of one plan, whose
/// code is linked into the application. The arenas in the first plan become the largest ones (JoinPlans.h). Nothing of the file
/// is left behind if it fails.
llvm::Expected<PackageSummary> package(llvm::ArrayRef<mlir::ModuleOp> variants, llvm::ArrayRef<CodeImage> images,
                                       const PackageOptions &options);

/// The plan of a module, or an error that says there is none.
llvm::Expected<plan::ModelOp> findPlan(mlir::ModuleOp module);

/// f32 -> 4; 0 for a name that is no ElementType of runtime/schema/model.fbs.
uint64_t elementSize(llvm::StringRef name);

} // namespace edgecc
#endif // EDGECC_COMPILER_PACKAGE_PACKAGE_H
