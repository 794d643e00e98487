//===- Bench.h - What is measured, and what comes out ------------------------===//
#ifndef EDGECC_TOOLS_BENCH_BENCH_H
#define EDGECC_TOOLS_BENCH_BENCH_H

#include "edgecc/edgecc.hpp"
#include "tools/edgecc-bench/Machine.h"
#include "tools/edgecc-bench/Samples.h"

#include <map>
#include <string>

namespace edgecc::tools {

struct BenchOptions {
  std::string path, entry;
  edgecc_model_options model;
  int64_t context = 0;
  std::vector<unsigned> threads;
  std::vector<int64_t> prefill = {32, 128, 512}, decode = {16, 512, 2048};
  std::map<std::string, int64_t> dims; ///< of plain entries; what is not named takes its upper bound
  std::vector<int64_t> rows = {1, 128};
  unsigned rounds = 5;
  unsigned prompt = 128;      ///< tokens of the prompt whose first token is waited for
  unsigned decodeTokens = 16; ///< in one sample
  std::string peak = "auto";  ///< which arithmetic limits a linear layer: int8, f32, or by the weights' width
};

/// Everything measured, in one flat list of rows: what a plot or a script wants.
struct Results {
  Json model = Json::object(), load = Json::object(), memory = Json::object();
  Json rows = Json::array();
  Json profile = Json::array(); ///< Profiler::table()
  Json notes = Json::array();   ///< what was left out, and why
  struct Limits {
    Samples read, int8, f32; ///< per second: bytes, multiply-adds, multiply-adds
    Samples mapped;          ///< bytes per second of a plain read of the weights where they are mapped, in the file's small pages
  };
  std::map<unsigned, Limits> limits; ///< by threads
};

/// Each returns "" or why it could not be measured.
std::string benchLanguageModel(const BenchOptions &options, Machine &machine, Results &results);
std::string benchEntry(const BenchOptions &options, Machine &machine, Results &results);
/// A model whose one entry is linear layers of one shape, each with an input and an output of its own.
std::string benchLinear(const BenchOptions &options, Machine &machine, Results &results);

/// The limits that are measured once: arithmetic, and memory if nothing measured it beside something else.
void measureLimits(const BenchOptions &options, Machine &machine, Results &results);
/// Opens and closes the model and a session, several times.
std::string benchLoad(const BenchOptions &options, Results &results);

Json report(const Results &results);
void printTable(const Json &report);

/// The kernels of each phase instead of its time, at the first thread count; `trace` is for a trace viewer.
std::string profileModel(const BenchOptions &options, bool isLanguageModel, Results &results, Json &trace);

/// Calls the entry, or feeds each of the prompts and a token at each of the contexts, so many times, on one thread. Measures
/// nothing.
std::string countCalls(const BenchOptions &options, bool isLanguageModel, unsigned calls);

/// Ids of a vocabulary, the same at each call.
std::vector<int64_t> someTokens(int64_t count, int64_t vocabulary);
/// Sets every input of an entry to numbers of its type, at these values of the free symbols. "" or why not.
std::string fillInputs(const edgecc_model *model, edgecc_session *session, size_t entry,
                       const std::map<std::string, int64_t> &dims);
/// The free symbols of a model with their values: as asked, else the upper bound. "" or which name is unknown or out of bounds.
std::string chooseDims(const edgecc_model *model, const std::map<std::string, int64_t> &wanted,
                       std::map<std::string, int64_t> &dims);
/// VmHWM of this process, in bytes; 0 where the system does not tell.
uint64_t peakResident();
/// Bytes of the weights that this process has touched since it mapped them, by pages.
uint64_t residentWeights(const edgecc_model *model);

} // namespace edgecc::tools
#endif // EDGECC_TOOLS_BENCH_BENCH_H
