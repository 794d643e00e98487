//===- Diff.h - Where a compiled model departs from what it should be --------===//
//
// Two outputs that differ say nothing about the layer that is to blame. Here the model is kept after each pass that changes what
// it computes, all of them are run on the same samples, and the layers' results are compared, in the order in which they are
// computed.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_COMPILER_DIFF_DIFF_H
#define EDGECC_COMPILER_DIFF_DIFF_H

#include "compiler/Options.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

namespace edgecc {

struct DiffOptions {
  Options compile;         ///< as for the artifact; `calibrate` has the samples, too; without it they are random
  std::string reference;   ///< .npz of tensors by the names of their nodes, from somebody else, for the samples joined along
                           ///< the first dimension; empty: the model before the first pass that loses something
  double tolerance = 1e-2; ///< relative error that counts as a departure
  std::string repro;       ///< folder for the smallest failing piece; empty: none is written
  int64_t samples = 2;     ///< at most: errors show on few
};

/// A layer after a pass: ||y - y'|| / ||y|| over all samples.
struct LayerError {
  std::string layer, op; ///< the node's name and the op, e.g. "edge.linear"
  double error;
};

struct PassErrors {
  std::string pass;               ///< its flag
  std::vector<LayerError> layers; ///< that exist on both sides with one shape, in the order of the model
  unsigned reshaped = 0;          ///< layers whose results have another shape now
};

struct Diff {
  std::vector<PassErrors> passes;    ///< those that change the model
  std::optional<size_t> pass, layer; ///< the first departure, if there is one
  double tolerance = 0;
  std::vector<std::string> repro; ///< files that were written

  void print(llvm::raw_ostream &os, bool all) const;
  llvm::json::Value toJson() const;
};

llvm::Expected<Diff> diffPasses(const DiffOptions &options, mlir::MLIRContext &context);

} // namespace edgecc
#endif // EDGECC_COMPILER_DIFF_DIFF_H
