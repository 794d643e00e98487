//===- JoinPlans.h - One plan for all CPU variants --------------------------===//
//
// Why: each variant is lowered by itself, and so has a memory plan of its own; an artifact has one table of entries, states and
// weights for all of them. Code reads its weights at offsets that are compiled in, so plans that disagree must not share a file.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_COMPILER_PACKAGE_JOINPLANS_H
#define EDGECC_COMPILER_PACKAGE_JOINPLANS_H

#include "compiler/package/Package.h"

namespace edgecc {

/// Returns the plan of the first variant, where the arena of each entry becomes the largest that any variant needs. Fails if the
/// plans differ in anything but steps and arenas. `images` name the variants; without them there may be only one.
llvm::Expected<plan::ModelOp> joinPlans(llvm::ArrayRef<mlir::ModuleOp> variants, llvm::ArrayRef<CodeImage> images);

} // namespace edgecc
#endif // EDGECC_COMPILER_PACKAGE_JOINPLANS_H
