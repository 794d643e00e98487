//===- edgecc-eval - What a recipe costs: quality, bytes, time ---------------===//
#include "runtime/files/Outputs.h"
#include "tools/edgecc-eval/Eval.h"

#include <CLI/CLI.hpp>
#include <fstream>

using namespace edgecc;
using namespace edgecc::tools;

namespace {

/// Everything that was asked for, in `report`; "" or why not.
std::string evaluate(const EvalOptions &options, Json &report) {
  Compiled model, other;
  Compiled *reference = options.reference.empty() ? nullptr : &other;
  if (std::string fault = model.open(options.model, options); !fault.empty())
    return fault;
  if (std::string fault = reference ? reference->open(options.reference, options) : ""; !fault.empty())
    return fault;
  const int64_t vocabulary = model.scoring->vocabulary();
  if (reference && reference->scoring->vocabulary() != vocabulary)
    return options.model + " has a vocabulary of " + std::to_string(vocabulary) + " tokens and " + options.reference +
           " one of " + std::to_string(reference->scoring->vocabulary()) + ": they are not the same model";
  report = {{"format", "edgecc-eval 1"}, {"model", model.facts}};
  if (reference)
    report["reference"] = reference->facts;

  Text text;
  std::string fault = text.open(model.model, options.tokenizer);
  if (!fault.empty())
    return fault;
  std::vector<int64_t> sample;
  if (!options.text.empty()) {
    int64_t length = std::min(options.window, model.scoring->context());
    length = reference ? std::min(length, reference->scoring->context()) : length;
    Windows windows;
    if (fault = windows.read(options, text.handle(), length, vocabulary); !fault.empty())
      return fault;
    if (fault = measureDivergence(windows, model, reference, report["text"]); !fault.empty())
      return fault;
    report["text"].update({{"path", options.text}, {"documents", windows.documents}, {"windows", windows.windows.size()}});
    for (const Window &window : windows.windows)
      if (window.tokens.size() > sample.size())
        sample = window.tokens;
  }
  if (!options.completions.empty()) {
    if (fault = measureCompletions(options, text.handle(), model, reference, report["completions"]); !fault.empty())
      return fault;
    report["completions"]["path"] = options.completions;
  }
  if (!options.speed || sample.size() < 2)
    return "";
  return measureSpeed(sample, model, reference, report["speed"]);
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app("Measures a compiled language model on a text, beside the same model uncompressed.\n"
               "Documents end at <|endoftext|>, or, in a text that has none, with the line. Lists of recipes, plots and tables: "
               "python3 -m edgecc.eval.");
  app.set_version_flag("--version", edgecc_version());
  EvalOptions options;
  std::string json;
  app.add_option("model", options.model, "the compiled model")->required();
  app.add_option("--reference", options.reference, "the artifact it is compared with: the same model without compression");
  app.add_option("--text", options.text, "a text, or token ids (.ids, a document a line, as edgecc-tokenize writes them)");
  app.add_option(
      "--completions", options.completions,
      "lines of a prompt and the one right way to go on, or token ids: greedy continuations are counted that are equal to it");
  app.add_option("--split", options.split, "ends the prompt of a line (among ids, one)")->capture_default_str();
  app.add_option("--until", options.until, "ends what is to be written")->capture_default_str();
  app.add_option("--actions", options.actions, "file for the continuations, a line each");
  app.add_option("--tokenizer", options.tokenizer,
                 "a tokenizer to use instead of the model's own: compiled by edgecc-tokenize, or any that edgecc compiles");
  app.add_option("--half", options.half, "take this half of the documents or lines only")
      ->check(CLI::IsMember({"first", "second"}));
  app.add_option("--count", options.count, "documents or lines at most");
  app.add_option("--window", options.window, "tokens of a window at most (default: the context length)")
      ->check(CLI::Range(int64_t(2), INT64_MAX));
  app.add_option("--at-least", options.atLeast, "refuse a text that gives fewer tokens")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--entry", options.entry,
                 "score the text by this entry (default: score, or decode where that can end early or is all there is)");
  app.add_option("--threads", options.threads, "that work on a call (default: the performance cores)");
  app.add_option("--cpu", options.cpu, "CPU features to use, as for edgecc-run");
  app.add_flag("!--no-speed", options.speed, "measure no times");
  app.add_option("--json", json, "write everything into this file");
  CLI11_PARSE(app, argc, argv);

  std::string fault;
  Json report;
  fault = files::findClash({{"--json", json}, {"--actions", options.actions}}, {{"the model", options.model},
                                                                                {"--reference", options.reference},
                                                                                {"--text", options.text},
                                                                                {"--completions", options.completions},
                                                                                {"--tokenizer", options.tokenizer}});
  if (fault.empty() && options.text.empty() && options.completions.empty())
    fault = "nothing to measure: give --text FILE or --completions FILE";
  if (fault.empty())
    fault = evaluate(options, report);
  if (fault.empty() && !json.empty())
    if (std::ofstream file(json); !(file << report.dump(2) << "\n").flush())
      fault = json + ": cannot be written";
  if (!fault.empty()) {
    fprintf(stderr, "edgecc-eval: %s\n", fault.c_str());
    return 1;
  }
  printTable(report);
  return 0;
}
