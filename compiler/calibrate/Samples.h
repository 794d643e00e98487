//===- Samples.h - What a model is calibrated on ------------------------------===//
#ifndef EDGECC_COMPILER_CALIBRATE_SAMPLES_H
#define EDGECC_COMPILER_CALIBRATE_SAMPLES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "runtime/arrays/Npy.h"
#include "llvm/Support/Error.h"

namespace edgecc {

/// What one call of the model is given: arrays by the names of the inputs.
struct Sample : std::map<std::string, arrays::Array> {
  using map::map;
  int64_t prompt = 0; ///< of a text: how many of its tokens are given at once, before the model goes on by itself
};

struct SampleOptions {
  std::string file;                 ///< .npz, .ids, else text
  std::string tokenizer;            ///< for text; "" or "none": `segment`, else the one beside the model
  std::string model;                ///< path of the model
  int64_t count = 128;              ///< samples at most
  int64_t length = 512;             ///< tokens of a sample at most
  const char *flag = "--calibrate"; ///< that named the file
  std::string split = "";           ///< what ends a prompt in a text; empty: nothing does
  llvm::StringRef segment = "";     ///< text segment of the artifact; empty if it has none
};

/// The samples for `main`, a function after normalize:
/// - .ids, for a model whose one input is token ids: numbers, a document a line; longer ones are cut into pieces. What stands
///   before a | is a prompt.
/// - text: the same, encoded by the tokenizer that the artifact gets, if no other is named.
/// - .npz: an array for each input; cut along the first dimension into calls of as many rows as the model takes. Those of a piece
///   of a model (Segment.h) are one call: their first dimensions mean many things.
/// Errors name the file and what does not fit: an input that is missing, a type, a token that the vocabulary has not.
llvm::Expected<std::vector<Sample>> readSamples(const SampleOptions &options, mlir::func::FuncOp main);

/// Returns the tokenizer in the folder of `model`: the one that the artifact would get, else the only tok*.bin or tok*.model.
std::optional<std::string> tokenizerBeside(llvm::StringRef model);

/// Numbers for who only wants to see that two models agree: normal for floats, tokens of the vocabulary for integers, ones for a
/// mask. The same each time. Free sizes are as long as `length` and the bounds allow.
llvm::Expected<std::vector<Sample>> randomSamples(const SampleOptions &options, mlir::func::FuncOp main);

} // namespace edgecc
#endif // EDGECC_COMPILER_CALIBRATE_SAMPLES_H
