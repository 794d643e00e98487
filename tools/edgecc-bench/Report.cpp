#include "tools/edgecc-bench/Bench.h"

#include <cstdio>
#include <sys/utsname.h>

namespace edgecc::tools {
namespace {

/// What a row is about, in a few words.
std::string title(const Json &row) {
  const std::string what = row["what"];
  if (what == "decode")
    return "decode at " + std::to_string(row["context"].get<int64_t>());
  if (what == "linear")
    return std::to_string(row["m"].get<int64_t>()) + "x" + std::to_string(row["k"].get<int64_t>()) + "x" +
           std::to_string(row["n"].get<int64_t>());
  if (what == "entry") {
    std::string text = row["entry"];
    for (const auto &[name, value] : row["dims"].items())
      text += " " + name + "=" + std::to_string(value.get<int64_t>());
    return text;
  }
  return what + " " + std::to_string(row["tokens"].get<int64_t>());
}

std::string number(const Json &row, const char *key, double scale, const char *format) {
  if (!row.contains(key))
    return "";
  const Json &value = row[key];
  const double plain = value.is_object() ? value["median"].get<double>() : value.get<double>();
  char text[64];
  snprintf(text, sizeof(text), format, plain * scale);
  return text;
}

} // namespace

Json report(const Results &results) {
  utsname system = {};
  uname(&system);
  Json limits = Json::array();
  for (const auto &[threads, limit] : results.limits) {
    limits.push_back({{"threads", threads},
                      {"read_bytes_per_second", limit.read.json()},
                      {"int8_macs_per_second", limit.int8.json()},
                      {"f32_macs_per_second", limit.f32.json()}});
    if (!limit.mapped.empty())
      limits.back()["mapped_read_bytes_per_second"] = limit.mapped.json();
  }
  return {{"format", "edgecc-bench 1"},
          {"machine",
           {{"cpu", Machine::cpuName()},
            {"system", std::string(system.sysname) + " " + system.release + " " + system.machine},
            {"int8_instruction", Machine::int8Name()},
            {"f32_instruction", Machine::f32Name()},
            {"limits", limits}}},
          {"model", results.model},
          {"load", results.load},
          {"memory", results.memory},
          {"results", results.rows},
          {"profile", results.profile},
          {"notes", results.notes}};
}

void printTable(const Json &report) {
  const Json &model = report["model"], &machine = report["machine"], &memory = report["memory"];
  if (!model.empty())
    printf("%s, %s, %.1f MB of weights\n", model["path"].get<std::string>().c_str(), model["code"].get<std::string>().c_str(),
           model["weights_bytes"].get<double>() / 1e6);
  for (const Json &limit : machine["limits"])
    printf("limits, %d threads: read %s GB/s%s, %s %s GMAC/s, %s %s GMAC/s\n", limit["threads"].get<int>(),
           number(limit, "read_bytes_per_second", 1e-9, "%.1f").c_str(),
           number(limit, "mapped_read_bytes_per_second", 1e-9, " (the mapped weights %.1f)").c_str(),
           machine["int8_instruction"].get<std::string>().c_str(), number(limit, "int8_macs_per_second", 1e-9, "%.0f").c_str(),
           machine["f32_instruction"].get<std::string>().c_str(), number(limit, "f32_macs_per_second", 1e-9, "%.0f").c_str());
  if (!report["load"].empty())
    printf("load: model %s ms, session %s ms\n", number(report["load"], "model_seconds", 1e3, "%.2f").c_str(),
           number(report["load"], "session_seconds", 1e3, "%.2f").c_str());
  if (memory.contains("peak_resident_bytes"))
    printf("memory: %s MB resident at most, of them %s MB this program; the contract says %s MB\n",
           number(memory, "peak_resident_bytes", 1e-6, "%.1f").c_str(), number(memory, "program_bytes", 1e-6, "%.1f").c_str(),
           number(memory, "contract_bytes", 1e-6, "%.1f").c_str());
  if (!report["results"].empty())
    printf("\n%-28s %7s %11s %7s %10s %10s %9s %7s\n", "", "threads", "ms", "+-", "tokens/s", "weights", "GMAC/s", "share");
  for (const Json &row : report["results"]) {
    const std::string rate = number(row, "weights_bytes_per_second", 1e-9, "%.1f GB/s");
    const char *share = row.contains("read_share") ? "read_share" : "share";
    printf("%-28s %7d %11s %7s %10s %10s %9s %7s\n", title(row).c_str(), row["threads"].get<int>(),
           number(row, "seconds", 1e3, "%.3f").c_str(), number(row, "spread", 100, "%.1f%%").c_str(),
           number(row, "tokens_per_second", 1, "%.1f").c_str(), rate.c_str(),
           number(row, "macs_per_second", 1e-9, "%.1f").c_str(), number(row, share, 100, "%.0f%%").c_str());
  }
  for (const Json &phase : report["profile"]) {
    printf("\n%s: %s ms\n%-44s %8s %11s %7s\n", phase["phase"].get<std::string>().c_str(),
           number(phase, "seconds", 1e3, "%.3f").c_str(), "", "calls", "ms", "share");
    for (const Json &kernel : phase["kernels"])
      printf("%-44s %8s %11s %7s\n", kernel["name"].get<std::string>().c_str(), number(kernel, "calls", 1, "%g").c_str(),
             number(kernel, "seconds", 1e3, "%.3f").c_str(), number(kernel, "share", 100, "%.1f%%").c_str());
  }
  for (const Json &note : report["notes"])
    printf("%s\n", note.get<std::string>().c_str());
}

} // namespace edgecc::tools
