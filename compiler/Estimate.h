//===- Estimate.h - What a language model may reach on a phone --------------===//
//
// Bytes and multiply-adds of the packed model, over what devices.def says of a phone. Not a measurement, and said to be none.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_COMPILER_ESTIMATE_H
#define EDGECC_COMPILER_ESTIMATE_H

#include "mlir/IR/BuiltinOps.h"
#include <vector>

namespace edgecc {

/// What one token takes, of a packed module's entry `decode`.
struct TokenCost {
  uint64_t weightBytes = 0;                ///< read
  uint64_t integerMacs = 0, floatMacs = 0; ///< of linear layers
  bool any() const { return weightBytes != 0; }
};
TokenCost costOfToken(mlir::ModuleOp module);

struct Estimate {
  const char *device;
  double prefill, decode; ///< tokens/s
};
/// `stateBytes`: of the cache, read for each token that is written.
std::vector<Estimate> estimate(const TokenCost &cost, uint64_t stateBytes);

} // namespace edgecc
#endif // EDGECC_COMPILER_ESTIMATE_H
