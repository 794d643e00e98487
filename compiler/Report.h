//===- Report.h - What a compile did, and what the model will cost -------------===//
#ifndef EDGECC_COMPILER_REPORT_H
#define EDGECC_COMPILER_REPORT_H

#include "compiler/Estimate.h"
#include "compiler/calibrate/CalibrationCache.h"
#include "compiler/text/TextCompiler.h"
#include "mlir/IR/BuiltinOps.h"
#include "passes/quantize/Ledger.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <map>
#include <string>
#include <vector>

namespace edgecc {

struct Report {
  struct State {
    std::string name, element, shape;
    uint64_t bytes; ///< at the largest context
  };
  struct Entry {
    std::string name;
    std::vector<std::string> inputs, outputs; ///< "input_ids: i64[batch, sequence]"
    uint64_t arena;                           ///< bytes
  };
  struct Code {
    std::string variant;
    std::vector<std::string> features;
    uint64_t bytes;
  };
  struct Exit {
    uint64_t layer;
    std::string confidence;
    double threshold;
  };
  struct Symbol {
    std::string name, role;
    int64_t min, max;
  };
  struct Memory {
    uint64_t weights = 0, arena = 0, bytesPerToken = 0;
    struct AtContext {
      int64_t context;
      uint64_t states, total;
    };
    std::vector<AtContext> contexts; ///< one with context 0 where the model has none
  };

  std::string model, output, sourceSha256, target;
  uint64_t fileBytes = 0, metadataBytes = 0;
  std::map<std::string, uint64_t> layers; ///< edge ops after normalize: how many of each
  std::vector<LedgerEntry> ledger;        ///< what was done to each weight, and each exit
  std::vector<Symbol> symbols;
  std::vector<State> states;
  std::vector<Entry> entries;
  std::vector<Exit> exits;
  CalibrationCache::Use calibrationCache; ///< without a folder: there is none
  uint64_t exitLayers = 0;                ///< that there are without exits
  std::vector<Code> code;
  std::vector<std::string> otherFiles; ///< what --code=static wrote beside the artifact
  Memory memory;
  text::TextSummary text;                              ///< of the text segment; vocabulary 0 without one
  TokenCost token;                                     ///< of a language model
  std::vector<std::pair<std::string, double>> seconds; ///< per phase, in order

  /// Fills `layers` from a normalized module.
  void countLayers(mlir::ModuleOp module);
  /// Fills model, symbols, states, entries and memory from a lowered module; its plan has been packaged, so it is sound.
  void describePlan(mlir::ModuleOp module, uint64_t weightBytes);

  /// For the phones of devices.def, at a context of kEstimatedContext tokens; empty unless it is a language model.
  std::vector<Estimate> estimates() const;
  static constexpr int64_t kEstimatedContext = 512;

  llvm::json::Value toJson() const;
  /// A dozen lines for a person.
  void print(llvm::raw_ostream &os) const;
};

/// The ledger as it is in reports and artifacts.
llvm::json::Value toJson(llvm::ArrayRef<LedgerEntry> ledger);

} // namespace edgecc
#endif // EDGECC_COMPILER_REPORT_H
