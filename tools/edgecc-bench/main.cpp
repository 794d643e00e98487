//===- edgecc-bench - How fast is a model.edge, and how fast could it be -----===//
#include "runtime/files/Outputs.h"
#include "runtime/src/cpu.h"
#include "tools/edgecc-bench/Bench.h"

#include <CLI/CLI.hpp>
#include <fstream>

using namespace edgecc;
using namespace edgecc::tools;

namespace {

int complain(const std::string &sentence) {
  fprintf(stderr, "edgecc-bench: %s\n", sentence.c_str());
  return 1;
}

/// "sequence=128"; "" or what is wrong.
std::string parseDims(const std::vector<std::string> &texts, std::map<std::string, int64_t> &dims) {
  for (const std::string &text : texts) {
    const size_t equals = text.find('=');
    char *end = nullptr;
    const int64_t value = equals == std::string::npos ? 0 : strtoll(text.c_str() + equals + 1, &end, 10);
    if (!end || *end || value < 1 || equals == 0)
      return "--dim " + text + ": write name=value, e.g. sequence=128";
    dims[text.substr(0, equals)] = value;
  }
  return "";
}

/// What kind of model it is, and what the report says about it.
std::string describeModel(const BenchOptions &options, Results &results, bool &isLanguageModel) {
  Model model;
  if (Status status = model.open(options.path.c_str(), &options.model); !status)
    return status.message();
  edgecc_model_info info;
  edgecc_memory_info memory;
  edgecc_model_get_info(model.handle(), &info);
  edgecc_model_memory(model.handle(), 0, &memory);
  isLanguageModel = false;
  edgecc_entry_info entry;
  for (size_t i = 0; edgecc_model_entry(model.handle(), i, &entry) == EDGECC_OK; ++i)
    isLanguageModel |= entry.advances != 0;
  results.model = {{"path", options.path},
                   {"name", info.name},
                   {"compiler", info.compiler},
                   {"command_line", info.command_line},
                   {"code", info.code},
                   {"file_bytes", info.file_size},
                   {"weights_bytes", memory.weights},
                   {"arena_bytes", memory.arena},
                   {"state_bytes_per_position", memory.bytes_per_position}};
  return "";
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app(
      "Measures a model.edge beside what the machine can do at most: language models by prefill and decode, others by the time "
      "of a call.\nComparisons with llama.cpp and ONNX Runtime, and plots: python3 -m edgecc.bench.");
  app.set_version_flag("--version", edgecc_version());
  BenchOptions options;
  edgecc_model_options_init(&options.model);
  std::string cpu, json, tracePath;
  std::vector<std::string> dims;
  unsigned calls = 0;
  bool micro = false, machineOnly = false, profile = false;
  app.add_option("model", options.path, "the compiled model");
  app.add_option("--threads", options.threads, "thread counts, e.g. 1,2; they take turns (default: the performance cores)")
      ->delimiter(',')
      ->check(CLI::Range(1u, 64u));
  app.add_option("--rounds", options.rounds, "samples of each figure")->capture_default_str()->check(CLI::Range(1u, 10000u));
  app.add_option("--json", json, "write everything, each sample included, into this file");
  app.add_option("--cpu", cpu, "CPU features to use, as for edgecc-run");
  app.add_flag("--profile", profile, "which kernel takes how long, instead of whole times; with the first of --threads");
  app.add_option("--trace", tracePath, "with --profile: each kernel's turn, for chrome://tracing or ui.perfetto.dev");
  app.add_option("--count", calls,
                 "do this many calls, or of those of --prefill and --decode that are given, and measure nothing: for instruction "
                 "counters")
      ->check(CLI::Range(1u, 1000000u));
  app.add_flag("--machine", machineOnly, "measure the machine's limits only; needs no model");

  auto *language = app.add_option_group("language models");
  auto *prefill = language->add_option("--prefill", options.prefill, "prompt lengths")
                      ->delimiter(',')
                      ->check(CLI::Range(1, 1 << 30))
                      ->capture_default_str();
  auto *decode = language->add_option("--decode", options.decode, "contexts at which tokens are written")
                     ->delimiter(',')
                     ->check(CLI::Range(2, 1 << 30))
                     ->capture_default_str();
  language->add_option("--prompt", options.prompt, "length of the prompt whose first token is waited for")
      ->capture_default_str()
      ->check(CLI::Range(1u, 1u << 30));
  language->add_option("--decode-tokens", options.decodeTokens, "tokens in a sample")
      ->capture_default_str()
      ->check(CLI::Range(1u, 100000u));
  language->add_option("--context", options.context, "positions a session has room for (default: what is measured)");

  auto *plain = app.add_option_group("other models");
  plain->add_option("--entry", options.entry, "the entry to call (default: the first)");
  plain->add_option("--dim", dims, "name=value of a size; may be repeated (default: its upper bound)");

  auto *layers = app.add_option_group("single layers");
  layers->add_flag("--micro", micro, "the model is linear layers of one shape: GMAC/s and the share of the limit");
  layers->add_option("--rows", options.rows, "rows of the left side")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 30))
      ->capture_default_str();
  layers->add_option("--peak", options.peak, "which arithmetic is the limit (auto: by the weights' width)")
      ->check(CLI::IsMember({"auto", "int8", "f32"}))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  if (options.path.empty() && !machineOnly)
    return complain("name a model: edgecc-bench model.edge (see --help)");
  if (std::string fault = files::findClash({{"--json", json}, {"--trace", tracePath}}, {{"the model", options.path}});
      !fault.empty())
    return complain(fault);
  if (!tracePath.empty() && !profile)
    return complain("--trace goes with --profile");
  if (std::string fault = parseDims(dims, options.dims); !fault.empty())
    return complain(fault);
  options.model.cpu = cpu.empty() ? nullptr : cpu.c_str();
  if (options.threads.empty())
    options.threads = {rt::performanceCores()};

  if (calls) {
    if (!*prefill)
      options.prefill.clear();
    if (!*decode)
      options.decode.clear();
    Results unused;
    bool isLanguageModel = false;
    std::string fault = describeModel(options, unused, isLanguageModel);
    if (fault.empty())
      fault = countCalls(options, isLanguageModel && options.entry.empty(), calls);
    return fault.empty() ? 0 : complain(fault);
  }

  Machine machine; // before anything large is in this process
  Results results;
  if (!options.path.empty() && !machineOnly) {
    bool isLanguageModel = false;
    std::string fault = describeModel(options, results, isLanguageModel);
    isLanguageModel &= options.entry.empty();
    Json trace;
    if (fault.empty() && profile)
      fault = profileModel(options, isLanguageModel, results, trace);
    else if (fault.empty())
      fault = benchLoad(options, results);
    if (fault.empty() && !profile)
      fault = micro             ? benchLinear(options, machine, results)
              : isLanguageModel ? benchLanguageModel(options, machine, results)
                                : benchEntry(options, machine, results);
    if (!fault.empty())
      return complain(fault);
    if (!tracePath.empty() && !(std::ofstream(tracePath) << trace.dump() << "\n"))
      return complain("cannot write " + tracePath);
  }
  measureLimits(options, machine, results);
  const Json all = report(results);
  printTable(all);
  if (json.empty())
    return 0;
  std::ofstream file(json);
  file << all.dump(1) << "\n";
  return file.good() ? 0 : complain("cannot write " + json);
}
