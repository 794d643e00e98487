//===- ExportSource.h - Checkpoints as inputs of the compiler ----------------===//
#ifndef EDGECC_TOOLS_EDGECC_EXPORTSOURCE_H
#define EDGECC_TOOLS_EDGECC_EXPORTSOURCE_H

#include "compiler/Options.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace edgecc {

/// Returns whether the input is a checkpoint (a directory or a GGUF file), which an exporter turns into ONNX first.
bool isCheckpoint(llvm::StringRef input);

/// An ONNX model that is exported for one compile, in a directory of its own beside the output.
class ExportedModel {
public:
  ExportedModel() = default;
  ExportedModel(const ExportedModel &) = delete;
  ExportedModel &operator=(const ExportedModel &) = delete;
  ~ExportedModel();

  /// Runs the exporter on options.input and makes its ONNX file the input. It names the checkpoint, so that the tokenizer is
  /// found. `adapter` is a LoRA adapter to merge, or "". With `keepOnnx` the directory stays.
  llvm::Error create(Options &options, llvm::StringRef adapter, bool keepOnnx);

private:
  std::string folder;
};

} // namespace edgecc
#endif // EDGECC_TOOLS_EDGECC_EXPORTSOURCE_H
