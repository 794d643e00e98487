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
#include "compiler/diff/Repro.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

namespace edgecc {

struct DiffOptions {
  Options compile;    ///< as for the artifact
  std::string inputs; ///< samples, as for --calibrate; empty: those of `compile.calibrate`; without them random numbers
  const char *inputsFlag = "--inputs"; ///< that they come from
  std::string reference;   ///< .npz of tensors by the names of their nodes, from somebody else, for the samples joined along
                           ///< the first dimension; empty: the model before the first pass that loses something
  double tolerance = 1e-2; ///< relative error that counts as a departure
  std::string repro;       ///< folder for the smallest failing piece; empty: none is written
  int64_t samples = 2;     ///< at most: errors show on few
};

/// A layer after a pass, over all samples.
struct LayerError {
  std::string layer, op; ///< the node's name and the op, e.g. "edge.linear"
  Difference error;
  size_t sample; ///< with the largest error
};

struct PassErrors {
  std::string pass;               ///< its flag; empty: the model before all of them
  std::vector<LayerError> layers; ///< that exist on both sides with one shape, in the order of the model
  unsigned reshaped = 0;          ///< layers whose results have another shape now
  unsigned rewritten = 0;         ///< layers that hold other numbers, although the model's results are what they were
};

struct Diff {
  std::vector<PassErrors> passes;    ///< those that change the model
  std::optional<size_t> pass, layer; ///< the first departure, if there is one
  double tolerance = 0;
  std::string samples; ///< what the layers were compared on, e.g. "2 samples of text.txt"
  std::optional<Repro> repro;

  /// The worst layer of each pass, or all of them, and the first departure.
  void print(llvm::raw_ostream &os, bool all) const;
  llvm::json::Value toJson() const;
};

llvm::Expected<Diff> diffPasses(const DiffOptions &options, mlir::MLIRContext &context);

} // namespace edgecc
#endif // EDGECC_COMPILER_DIFF_DIFF_H
