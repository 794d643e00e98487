//===- Options.h - What a compile is asked for ----------------------------------===//
//
// A plain struct: the libraries have no global options, so that a program can compile two models with two sets of options.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_COMPILER_OPTIONS_H
#define EDGECC_COMPILER_OPTIONS_H

#include "mlir/Pass/PassManager.h"
#include "passes/earlyexit/Exits.h"
#include "passes/prune/Request.h"
#include "runtime/files/Outputs.h"
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace edgecc {

/// The form in which the compile ends.
enum class Emit { Onnx, Edge, Lowered, LLVM, Assembly, Object, EdgeFile };

/// Where the code goes: into the artifact, or beside it for the application to link.
enum class CodeDelivery { Embedded, Static };

/// `--dim batch=1`, `--dim sequence=1..512`; bounds are inclusive.
struct DimBounds {
  std::string name;
  int64_t min, max;
};

struct Options {
  std::string input;                    ///< .onnx, .onnxtxt, .textproto, or .mlir on any level of the pipeline
  std::string output;                   ///< empty: beside the input, with the suffix that fits; "-": standard output (text only)
  std::vector<std::string> weightsDirs; ///< where external data may lie, beside the model's own folder
  std::vector<DimBounds> dims;
  std::optional<int64_t> context; ///< the longest context of a language model, positions
  std::string target = "host";
  std::string variant; ///< only this one of the target's; empty: all
  Emit emit = Emit::EdgeFile;
  CodeDelivery code = CodeDelivery::Embedded;
  PruneRequest prune;                                          ///< what is cut out of the model
  std::string kvHeads = "none";                                ///< none, exact, auto, or a number (passes/attention/README.md)
  std::string kvMerge = "fit";                                 ///< how KV heads are merged
  int64_t kvSteps = 600;                                       ///< of the descent that fits a layer's merged heads
  std::string quant = "none";                                  ///< scheme of quantized weights (passes/quantize/README.md)
  std::vector<std::string> quantLayers;                        ///< PATTERN=SCHEME, for the layers that a pattern fits
  std::string quantAlgorithm = "rtn";                          ///< a list of algorithms (passes/quantize/README.md)
  std::optional<int64_t> targetSize;                           ///< bytes of all weights: schemes are chosen
  std::optional<double> targetBits;                            ///< of a quantized weight, on average
  std::optional<double> maxDivergence;                         ///< of the output, nats
  std::vector<std::string> quantSchemes = {"w4g32a8", "w8a8"}; ///< to choose from
  double outlierThreshold = 6;                                 ///< magnitude of an input channel that stays float (llm-int8)
  double outlierShare = 0;                                     ///< of the channels that do; 0: by the threshold
  std::vector<std::string> pluginPasses;                       ///< passes by name, after a phase: [normalize:|compress:]PIPELINE
  earlyexit::RequestText exits;                                ///< where a call may end early (passes/earlyexit/README.md)
  std::string calibrate;          ///< samples for passes that look at what flows through the model; empty: none
  std::string tokenizer;          ///< source of the text segment and of text to calibrate on; empty: found; "none": none
  std::string calibrateSplit;     ///< what ends a prompt in it; empty: nothing does
  int64_t calibrateSamples = 128; ///< at most
  int64_t calibrateLength = 512;  ///< tokens of a sample at most
  std::string calibrationCache;   ///< folder of results of calibration; empty: none are kept
  int64_t calibrationCacheSize = int64_t(4) << 30; ///< bytes at most
  std::string kv;                            ///< what KV caches are kept as: f32, f16, int8 or int4; empty: as the model has them
  std::vector<files::NamedFile> otherInputs; ///< files that the caller reads: no output may overwrite them
  std::vector<files::NamedFile> otherOutputs; ///< files that the caller writes afterwards
  bool checkRaises = true;                    ///< compare layers that were raised with their nodes, on random values
  unsigned threads = 0;                       ///< for code generation; 0: as many as the machine has
  bool progress = false;
  std::string compiler = "edgecc";
  std::string commandLine;

  /// `maxDivergence`, if it is for KV heads; 0: it is for the schemes of weights.
  double kvBudget() const { return kvHeads == "auto" ? maxDivergence.value_or(0) : 0; }

  /// Called on every pass manager before it runs: printing, timing, extra passes. May be empty.
  std::function<mlir::LogicalResult(mlir::PassManager &)> configure;
};

} // namespace edgecc
#endif // EDGECC_COMPILER_OPTIONS_H
