//===- Tensors.h - Running a plain model on arrays --------------------------===//
#ifndef EDGECC_TOOLS_TENSORS_H
#define EDGECC_TOOLS_TENSORS_H

#include "edgecc/edgecc.hpp"

#include <string>
#include <vector>

namespace edgecc::tools {

struct TensorOptions {
  std::string entry;               ///< "" is the first
  std::vector<std::string> inputs; ///< "name=file.npy"
  std::string inputArchive;        ///< .npz
  std::string outputDir, outputArchive;
  unsigned repeat = 1;
  bool stats = false; ///< say after how many layers the call ended
};

/// Returns a sentence if an output would overwrite the model, a tokenizer or an input; else "".
std::string findOverwritten(const std::string &model, const std::string &tokenizer, const TensorOptions &options);

/// Sets the inputs, runs the entry, writes the outputs and prints their shapes. Returns the exit status.
int runTensors(const Model &model, Session &session, const TensorOptions &options);

} // namespace edgecc::tools
#endif // EDGECC_TOOLS_TENSORS_H
