//===- Results.h - What a model in a test computes --------------------------===//
#ifndef EDGECC_TEST_PASSES_RESULTS_H
#define EDGECC_TEST_PASSES_RESULTS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/calibrate/Calibrator.h"
#include "gtest/gtest.h"
#include <vector>

namespace edgecc {

/// The first result, of all samples, one after the other.
inline std::vector<float> firstResults(Calibrator &calibrator, mlir::func::FuncOp function) {
  std::vector<float> seen;
  llvm::Error error =
      calibrator.observe("test", function.front().getTerminator()->getOperand(0), [&](size_t, llvm::ArrayRef<Observed> values) {
    seen.insert(seen.end(), values[0].data.begin(), values[0].data.end());
    return llvm::Error::success();
  });
  EXPECT_EQ(llvm::toString(std::move(error)), "");
  return seen;
}

} // namespace edgecc
#endif // EDGECC_TEST_PASSES_RESULTS_H
