//===- TextSegment.h - The tokenizer and chat template of an artifact --------===//
#ifndef EDGECC_COMPILER_TEXTSEGMENT_H
#define EDGECC_COMPILER_TEXTSEGMENT_H

#include "compiler/Options.h"
#include "compiler/text/TextCompiler.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"

namespace edgecc {

/// Metadata key of an ONNX file: the checkpoint it was exported from, a directory or a GGUF file.
constexpr llvm::StringLiteral kTextSource = "edgecc.text_source";

/// Compiles the text of a model into `segment`: from --tokenizer, else from the checkpoint that the exporter names, else from a
/// tokenizer beside the model. Leaves it empty with --tokenizer=none, or if there is no tokenizer. What was found without being
/// asked for and cannot be compiled is a warning.
llvm::Error compileText(const Options &options, mlir::ModuleOp module, std::string &segment, text::TextSummary &summary,
                        llvm::function_ref<void(const llvm::Twine &)> warn);

/// Fails if the tokenizer has more tokens than the logits of a lowered or edge module.
llvm::Error checkVocabulary(const text::TextSummary &summary, mlir::ModuleOp module);

} // namespace edgecc
#endif // EDGECC_COMPILER_TEXTSEGMENT_H
