//===- edgecc-dump - What is in a model.edge --------------------------------===//
//
// One description, as JSON; the readable form is printed from it, so that neither can say more than the other.
//
//===----------------------------------------------------------------------===//
#include "edgecc/edgecc.hpp"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

using Json = nlohmann::ordered_json;

namespace {

constexpr int64_t kContexts[] = {512, 2048, 4096};

std::string hex(const uint8_t *bytes, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    char digits[3];
    snprintf(digits, sizeof(digits), "%02x", bytes[i]);
    text += digits;
  }
  return text;
}

Json describeTensor(const edgecc_model *model, const edgecc_tensor_info &tensor) {
  Json shape = Json::array();
  for (uint32_t d = 0; d < tensor.rank; ++d) {
    edgecc_extent_info extent;
    edgecc_model_extent(model, &tensor, d, &extent);
    if (extent.min == extent.max)
      shape.push_back(extent.min);
    else
      shape.push_back({{"size", extent.text}, {"min", extent.min}, {"max", extent.max}});
  }
  return {{"name", tensor.name}, {"type", edgecc_type_name(tensor.type)}, {"shape", shape}};
}

Json describeEntry(const edgecc_model *model, size_t index) {
  edgecc_entry_info entry;
  edgecc_tensor_info tensor;
  edgecc_extent_info advance;
  edgecc_model_entry(model, index, &entry);
  edgecc_model_advance(model, &entry, &advance);
  Json inputs = Json::array(), outputs = Json::array();
  for (size_t i = 0; edgecc_model_input(model, index, i, &tensor) == EDGECC_OK; ++i) {
    inputs.push_back(describeTensor(model, tensor));
    char values[256];
    edgecc_model_input_values(model, index, i, values, sizeof(values));
    if (*values)
      inputs.back()["values"] = values;
    if (edgecc_model_input_is_optional(model, index, i))
      inputs.back()["optional"] = true;
  }
  for (size_t i = 0; edgecc_model_output(model, index, i, &tensor) == EDGECC_OK; ++i)
    outputs.push_back(describeTensor(model, tensor));
  Json result = {{"name", entry.name}, {"inputs", inputs}, {"outputs", outputs}, {"arena_bytes", entry.arena_size}};
  if (entry.advances)
    result["advance"] = advance.text;
  if (edgecc_model_entry_exits(model, index))
    result["exits"] = true;
  return result;
}

/// What a model with exits has of them.
Json describeExits(const edgecc_model *model) {
  Json exits = Json::array();
  edgecc_exit_info exit;
  for (size_t i = 0; edgecc_model_exit(model, i, &exit) == EDGECC_OK; ++i) {
    exits.push_back(
        {{"layer", exit.layer}, {"threshold", exit.threshold}, {"confidence", edgecc_exit_confidence_name(exit.confidence)}});
    edgecc_entry_info entry;
    if (const ptrdiff_t index = edgecc_model_find_resuming(model, i); index >= 0) {
      edgecc_model_entry(model, size_t(index), &entry);
      exits.back()["verified_by"] = entry.name;
    }
  }
  return {{"layers", edgecc_model_layers(model)}, {"exits", exits}};
}

Json describeSegment(const edgecc_model *model, size_t index, const edgecc_segment_info &segment) {
  const char *const kinds[] = {"weights", "code", "text", "ledger"};
  Json result = {{"name", segment.name},     {"kind", kinds[segment.kind]},    {"offset", segment.offset},
                 {"length", segment.length}, {"alignment", segment.alignment}, {"sha256", hex(segment.sha256, 32)}};
  if (segment.kind != EDGECC_CODE)
    return result;
  result["architecture"] = segment.architecture;
  result["features"] = Json::array();
  for (size_t i = 0; i < segment.feature_count; ++i)
    result["features"].push_back(edgecc_model_segment_feature(model, index, i));
  return result;
}

/// At the context lengths people compare by, as far as the model goes; 0 stands for a model without a context.
Json describeMemory(const edgecc_model *model, int64_t longest) {
  edgecc_memory_info memory;
  edgecc_model_memory(model, longest, &memory);
  Json result = {
      {"weights_bytes", memory.weights}, {"arena_bytes", memory.arena}, {"state_bytes_per_position", memory.bytes_per_position}};
  std::vector<int64_t> contexts;
  for (int64_t context : kContexts)
    if (context < longest)
      contexts.push_back(context);
  contexts.push_back(longest);
  result["total"] = Json::array();
  for (int64_t context : contexts) {
    edgecc_model_memory(model, context, &memory);
    result["total"].push_back({{"context", context}, {"state_bytes", memory.states}, {"bytes", memory.total}});
  }
  return result;
}

Json describe(const edgecc_model *model) {
  edgecc_model_info info;
  edgecc_model_get_info(model, &info);
  Json symbols = Json::array(), states = Json::array(), entries = Json::array(), segments = Json::array(),
       properties = Json::object();
  int64_t longest = 0;
  edgecc_symbol_info symbol;
  for (size_t i = 0; edgecc_model_symbol(model, i, &symbol) == EDGECC_OK; ++i) {
    const char *const roles[] = {"free", "position", "capacity", "pending"};
    symbols.push_back({{"name", symbol.name}, {"min", symbol.min}, {"max", symbol.max}, {"role", roles[symbol.role]}});
    if (symbol.role == EDGECC_CAPACITY)
      longest = symbol.max;
  }
  edgecc_tensor_info tensor;
  for (size_t i = 0; edgecc_model_state(model, i, &tensor) == EDGECC_OK; ++i)
    states.push_back(describeTensor(model, tensor));
  for (size_t i = 0; i < info.entry_count; ++i)
    entries.push_back(describeEntry(model, i));
  edgecc_segment_info segment;
  for (size_t i = 0; edgecc_model_segment(model, i, &segment) == EDGECC_OK; ++i)
    segments.push_back(describeSegment(model, i, segment));
  const char *key, *value;
  for (size_t i = 0; edgecc_model_property_at(model, i, &key, &value) == EDGECC_OK; ++i)
    properties[key] = value;
  return {{"name", info.name},
          {"compiler", info.compiler},
          {"command_line", info.command_line},
          {"source_sha256", info.source_sha256},
          {"abi_version", info.abi_version},
          {"required_features", info.features},
          {"file_bytes", info.file_size},
          {"metadata_bytes", info.metadata_size},
          {"memory", describeMemory(model, longest)},
          {"early_exit", describeExits(model)},
          {"symbols", symbols},
          {"entries", entries},
          {"states", states},
          {"segments", segments},
          {"properties", properties}};
}

/// What each lossy pass did, as the compiler wrote it; null if it cannot be read.
Json describeLedger(const edgecc_model *model, const std::string &path) {
  constexpr uint64_t kMost = 64 << 20;
  edgecc_segment_info segment;
  for (size_t i = 0; edgecc_model_segment(model, i, &segment) == EDGECC_OK; ++i) {
    if (segment.kind != EDGECC_LEDGER || segment.length > kMost)
      continue;
    std::string text(segment.length, '\0');
    std::ifstream file(path, std::ios::binary);
    file.seekg(static_cast<std::streamoff>(segment.offset));
    if (!file.read(text.data(), static_cast<std::streamsize>(text.size())))
      return nullptr;
    Json ledger = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    return ledger.is_discarded() ? Json() : ledger;
  }
  return nullptr;
}

//===-- The readable form ------------------------------------------------------===//

/// A control character in a name must not steer the terminal.
std::string plain(const Json &text) {
  std::string result = text.get<std::string>();
  for (char &c : result)
    if (static_cast<unsigned char>(c) < 32 || c == 127)
      c = '?';
  return result;
}

std::string megabytes(const Json &bytes) {
  char text[48];
  snprintf(text, sizeof(text), "%.3f MB", bytes.get<double>() / 1e6);
  return text;
}

std::string tensorText(const Json &tensor) {
  std::string shape;
  for (const Json &extent : tensor["shape"])
    shape += (shape.empty() ? "" : ", ") + (extent.is_object() ? plain(extent["size"]) : extent.dump());
  return plain(tensor["name"]) + ": " + plain(tensor["type"]) + " [" + shape + "]" +
         (tensor.contains("values") ? ", " + plain(tensor["values"]) : "");
}

/// An entry as edge-quantize-weights and edge-quantize-cache write it; others are shown as they are.
void printChange(const Json &entry) {
  auto text = [&](const char *key) {
    return entry.contains(key) && entry[key].is_string() ? plain(entry[key]) : std::string("?");
  };
  auto number = [&](const char *key) { return entry.contains(key) && entry[key].is_number() ? entry[key].get<double>() : 0; };
  if (!entry.is_object())
    return (void)printf("  %s\n", entry.dump().c_str());
  if (entry.contains("cache"))
    return (void)printf("  cache %s: %s, %.0f to %.0f bytes at the longest context\n", text("cache").c_str(),
                        text("scheme").c_str(), number("bytes_before"), number("bytes_after"));
  if (number("bytes_before") == 0)
    return (void)printf("  %s (%s): %s\n", text("weight").c_str(), text("layer").c_str(), text("scheme").c_str());
  printf("  %s (%s): %s, %.0f to %.0f bytes, relative error %.4f (%.1f dB)\n", text("weight").c_str(), text("layer").c_str(),
         text("scheme").c_str(), number("bytes_before"), number("bytes_after"), number("relative_error"), number("snr_db"));
}

void print(const Json &model) {
  printf("%s, by %s\n", plain(model["name"]).c_str(), plain(model["compiler"]).c_str());
  printf("  command      %s\n  source       sha256 %s\n", plain(model["command_line"]).c_str(),
         plain(model["source_sha256"]).c_str());
  printf("  file         %s, metadata %s bytes, ABI %s\n", megabytes(model["file_bytes"]).c_str(),
         model["metadata_bytes"].dump().c_str(), model["abi_version"].dump().c_str());
  const Json &memory = model["memory"];
  printf("memory\n  weights      %s\n  arena        %s\n", megabytes(memory["weights_bytes"]).c_str(),
         megabytes(memory["arena_bytes"]).c_str());
  printf("  per position %s bytes\n", memory["state_bytes_per_position"].dump().c_str());
  for (const Json &total : memory["total"])
    if (total["context"] == 0)
      printf("  total        %s\n", megabytes(total["bytes"]).c_str());
    else
      printf("  total        %s at context %s (states %s)\n", megabytes(total["bytes"]).c_str(), total["context"].dump().c_str(),
             megabytes(total["state_bytes"]).c_str());
  if (const Json &exits = model["early_exit"]["exits"]; !exits.empty()) {
    printf("exits\n");
    for (const Json &exit : exits)
      printf("  after %s of %s layers if the %s is at least %.3f%s\n", exit["layer"].dump().c_str(),
             model["early_exit"]["layers"].dump().c_str(), plain(exit["confidence"]).c_str(), exit["threshold"].get<double>(),
             exit.contains("verified_by") ? (", verified by " + plain(exit["verified_by"])).c_str() : "");
  }
  printf("symbols\n");
  for (const Json &symbol : model["symbols"])
    printf("  %s: %s..%s (%s)\n", plain(symbol["name"]).c_str(), symbol["min"].dump().c_str(), symbol["max"].dump().c_str(),
           plain(symbol["role"]).c_str());
  for (const Json &entry : model["entries"]) {
    printf("entry %s\n", plain(entry["name"]).c_str());
    for (const Json &tensor : entry["inputs"])
      printf("  input  %s\n", tensorText(tensor).c_str());
    for (const Json &tensor : entry["outputs"])
      printf("  output %s\n", tensorText(tensor).c_str());
    printf("  arena  %s%s%s\n", megabytes(entry["arena_bytes"]).c_str(),
           entry.contains("advance") ? (", advances by " + plain(entry["advance"])).c_str() : "",
           entry.contains("exits") ? ", may end early" : "");
  }
  printf("states\n");
  for (const Json &state : model["states"])
    printf("  %s\n", tensorText(state).c_str());
  printf("segments\n");
  for (const Json &segment : model["segments"]) {
    std::string code;
    if (segment.contains("architecture")) {
      code = ", " + plain(segment["architecture"]);
      for (const Json &feature : segment["features"])
        code += " " + plain(feature);
    }
    printf("  %s: %s%s, %s bytes at %s, sha256 %.16s...\n", plain(segment["name"]).c_str(), plain(segment["kind"]).c_str(),
           code.c_str(), segment["length"].dump().c_str(), segment["offset"].dump().c_str(), plain(segment["sha256"]).c_str());
  }
  if (const Json &ledger = model["ledger"]; ledger.is_array() && !ledger.empty()) {
    printf("ledger\n");
    for (const Json &entry : ledger)
      printChange(entry);
  }
  printf("properties\n");
  for (const auto &[key, value] : model["properties"].items())
    printf("  %s = %s\n", plain(key).c_str(), plain(value).c_str());
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app("Shows what is in a model.edge: entries, sizes, memory contract, code and weights.");
  app.set_version_flag("--version", edgecc_version());
  std::string path;
  bool json = false, verifyAll = false;
  app.add_option("model", path, "the compiled model")->required();
  app.add_flag("--json", json, "as JSON");
  app.add_flag("--verify", verifyAll, "compare every hash first, however large the file");
  CLI11_PARSE(app, argc, argv);

  edgecc_model_options options;
  edgecc_model_options_init(&options);
  options.flags = EDGECC_INSPECT_ONLY | (verifyAll ? EDGECC_VERIFY_ALL : 0);
  edgecc::Model model;
  if (edgecc::Status status = model.open(path.c_str(), &options); !status) {
    fprintf(stderr, "edgecc-dump: %s\n", status.message());
    return 1;
  }
  Json description = describe(model.handle());
  description["ledger"] = describeLedger(model.handle(), path);
  // Names may hold any bytes; what is not UTF-8 is replaced rather than refused.
  if (json)
    printf("%s\n", description.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  else
    print(description);
  return 0;
}
