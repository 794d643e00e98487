//===- Repro.h - The smallest piece that fails, to be looked at alone ---------===//
#ifndef EDGECC_COMPILER_DIFF_REPRO_H
#define EDGECC_COMPILER_DIFF_REPRO_H

#include "compiler/calibrate/Samples.h"
#include "compiler/diff/Layers.h"

namespace edgecc {

struct ReproRequest {
  std::string folder;                    ///< does not exist yet
  mlir::Value departed;                  ///< in the model that is off
  const Counterparts &reference;         ///< of its values in the model that is right
  Sample sample;                         ///< one call of the model
  std::optional<arrays::Array> expected; ///< what `departed` should be; else its counterpart is
  double tolerance;
  unsigned threads;
  bool progress;
};

struct Repro {
  std::vector<std::string> files;
  unsigned layers = 0; ///< in the piece
  Difference error;    ///< of the piece alone, on inputs that are right
  std::string command; ///< shows it again
};

/// Writes after.mlir, the piece with its weights as the pass left it; before.mlir, the same in the model that is right, if that
/// is another; inputs.npz and expected.npz. The piece is the layer alone if that departs on right inputs, else as many in front
/// of it as it takes. The folder appears when it is complete.
llvm::Expected<Repro> writeRepro(const ReproRequest &request);

} // namespace edgecc
#endif // EDGECC_COMPILER_DIFF_REPRO_H
