//===- OuterLoops.h - Loops around other loops ------------------------------===//
#ifndef EDGECC_PASSES_LOWER_OUTERLOOPS_H
#define EDGECC_PASSES_LOWER_OUTERLOOPS_H

#include "mlir/Dialect/SCF/IR/SCF.h"

namespace edgecc {

/// Keeps LLVM from unrolling `loop` if it contains another loop, unless the nest has few rounds. Over a tensor of fixed sizes it
/// would unroll whole planes, which is hundreds of kilobytes of code and takes minutes. Call it when the body is complete.
void keepOuterLoop(mlir::scf::ForOp loop);

} // namespace edgecc
#endif // EDGECC_PASSES_LOWER_OUTERLOOPS_H
