#include "tools/edgecc-eval/Eval.h"

namespace edgecc::tools {
namespace {

double at(const Json &json, const char *key) { return json[key].get<double>(); }

void printDepths(const Json &figures) {
  if (!figures.contains("layers"))
    return;
  printf("%-10s %.2f on average;", "layers", at(figures, "layers"));
  for (size_t depth = 0; depth < figures["depths"].size(); ++depth)
    if (const uint64_t calls = figures["depths"][depth])
      printf(" %zu: %llu", depth, static_cast<unsigned long long>(calls));
  printf(" tokens\n");
}

void printSpeed(const Json &speed) {
  printf("%-10s", "speed");
  const char *separator = " ";
  for (std::string what : {"prefill", "decode"})
    if (const auto rate = speed.find(what + "_tokens_per_second"); rate != speed.end()) {
      printf("%s%s %.0f tokens/s", separator, what.c_str(), rate->get<double>());
      if (const auto factor = speed.find(what + "_speedup"); factor != speed.end())
        printf(" (%.2f times the reference's)", factor->get<double>());
      separator = ", ";
    }
  printf(", %u threads\n", speed["threads"].get<unsigned>());
}

void printModel(const char *title, const Json &model) {
  printf("%-10s %s: %.3f MB file, %.3f MB weights, %.0f B of cache per token, arena %.3f MB\n", title,
         model["path"].get<std::string>().c_str(), at(model, "file_bytes") / 1e6, at(model, "weights_bytes") / 1e6,
         at(model, "state_bytes_per_position"), at(model, "arena_bytes") / 1e6);
}

} // namespace

void printTable(const Json &report) {
  printModel("model", report["model"]);
  if (report.contains("reference"))
    printModel("reference", report["reference"]);
  if (report.contains("text")) {
    const Json &text = report["text"];
    printf("%-10s %zu tokens of %zu documents in %zu windows\n", "text", text["tokens"].get<size_t>(),
           text["documents"].get<size_t>(), text["windows"].get<size_t>());
    printf("%-10s %.5f (perplexity %.4f)", "nll", at(text, "nll"), at(text, "perplexity"));
    if (text.contains("kl_mean")) {
      printf(", the reference's %.5f: %+.3f %% (+- %.3f)\n", at(text, "reference_nll"), 100 * at(text, "nll_increase"),
             100 * at(text, "nll_difference_error") / at(text, "reference_nll"));
      printf("%-10s mean %.6f, 99th percentile %.5f\n", "kl", at(text, "kl_mean"), at(text, "kl_p99"));
      printf("%-10s %.3f %% of the likeliest tokens", "agreement", 100 * at(text, "agreement"));
    }
    printf("\n");
    printDepths(text);
  }
  if (report.contains("completions")) {
    const Json &lines = report["completions"];
    printf("%-10s %.2f %%: %zu of %zu lines", "accuracy", 100 * at(lines, "accuracy"), lines["right"].get<size_t>(),
           lines["lines"].get<size_t>());
    if (lines.contains("same"))
      printf("; the reference %.2f %%, %.2f %% the same", 100 * at(lines, "reference_accuracy"), 100 * at(lines, "same"));
    printf("\n");
    printDepths(lines);
    if (lines.contains("speed"))
      printSpeed(lines["speed"]);
  }
  if (report.contains("speed"))
    printSpeed(report["speed"]);
}

} // namespace edgecc::tools
