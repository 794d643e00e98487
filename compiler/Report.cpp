//===- Report.cpp -----------------------------------------------------------------===//
#include "compiler/Report.h"
#include "compiler/package/Extent.h"
#include "compiler/package/Package.h"
#include "dialects/edge/EdgeDialect.h"
#include "dialects/edge/Shape.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include <set>

using namespace llvm;
namespace edgecc {
namespace {

std::string sizeText(mlir::AffineExpr size, ArrayRef<edge::SymbolAttr> symbols) {
  std::string printed, text;
  raw_string_ostream(printed) << size;
  // "s0 + s1" -> "past + sequence"
  for (size_t i = 0; i < printed.size();) {
    size_t end = i + 1;
    if (printed[i] == 's' && end < printed.size() && isDigit(printed[end])) {
      while (end < printed.size() && isDigit(printed[end]))
        ++end;
      text += symbols[std::stoul(printed.substr(i + 1, end - i - 1))].getName().str();
    } else {
      text += printed[i];
    }
    i = end;
  }
  return text;
}

std::string typeText(StringRef element, mlir::AffineMap shape, ArrayRef<edge::SymbolAttr> symbols) {
  std::string text = element.str() + "[";
  for (auto [i, size] : llvm::enumerate(shape.getResults()))
    text += (i ? ", " : "") + sizeText(size, symbols);
  return text + "]";
}

std::string bytesText(uint64_t bytes) {
  std::string text;
  raw_string_ostream os(text);
  if (bytes < 10000)
    os << bytes << " bytes";
  else if (bytes < 10000000)
    os << format("%.1f KB", bytes / 1e3);
  else if (bytes < 10000000000)
    os << format("%.1f MB", bytes / 1e6);
  else
    os << format("%.2f GB", bytes / 1e9);
  return text;
}

/// The sums over the entries of one kind in the ledger.
struct Losses {
  uint64_t count = 0, before = 0, after = 0;
  double mean = 0;
  const LedgerEntry *worst = nullptr;

  Losses(ArrayRef<LedgerEntry> ledger, LedgerEntry::Kind kind) {
    for (const LedgerEntry &entry : ledger) {
      if (entry.kind() != kind || entry.before == 0)
        continue;
      ++count;
      before += entry.before;
      after += entry.after;
      mean += entry.error;
      if (!worst || entry.error > worst->error)
        worst = &entry;
    }
    mean /= std::max<uint64_t>(1, count);
  }
};

} // namespace

json::Value toJson(ArrayRef<LedgerEntry> ledger) {
  json::Array list;
  for (const LedgerEntry &entry : ledger) {
    if (entry.isCache) {
      list.push_back(json::Object{
          {"cache", entry.weight}, {"scheme", entry.scheme}, {"bytes_before", entry.before}, {"bytes_after", entry.after}});
      continue;
    }
    json::Object fields{{"weight", entry.weight},       {"layer", entry.layer},       {"scheme", entry.scheme},
                        {"bytes_before", entry.before}, {"bytes_after", entry.after}, {"relative_error", entry.error},
                        {"snr_db", entry.decibels}};
    for (const auto &[name, value] : entry.figures)
      fields[name] = value;
    list.push_back(std::move(fields));
  }
  return list;
}

void Report::countLayers(mlir::ModuleOp module) {
  module.walk([&](mlir::Operation *op) {
    StringRef name = op->getName().getStringRef();
    if (name.consume_front("edge.") && !is_contained({"dim", "weight", "reshape", "yield", "kernel"}, name))
      ++layers[name.str()];
  });
}

void Report::describePlan(mlir::ModuleOp module, uint64_t weightBytes) {
  auto plan = *module.getOps<plan::ModelOp>().begin();
  SmallVector<edge::SymbolAttr> all = edge::symbolsOf(module);
  model = plan.getName().str();
  memory.weights = weightBytes;
  int64_t capacity = 0, least = 0;
  std::vector<int64_t> values;
  for (edge::SymbolAttr symbol : all) {
    symbols.push_back({symbol.getName().str(), stringifySymbolRole(symbol.getRole()).str(), symbol.getMin(), symbol.getMax()});
    values.push_back(symbol.getMax());
    if (symbol.getRole() == edge::SymbolRole::Capacity)
      capacity = symbol.getMax(), least = symbol.getMin();
  }

  auto bytesAt = [&](plan::StateOp state, int64_t context) {
    std::vector<int64_t> at = values;
    for (auto [value, symbol] : llvm::zip(at, all))
      if (symbol.getRole() == edge::SymbolRole::Capacity)
        value = context;
    uint64_t bytes = elementSize(state.getElement());
    for (mlir::AffineExpr size : state.getShape().getResults())
      bytes *= evaluate(size, at);
    return bytes;
  };
  auto statesAt = [&](int64_t context) {
    uint64_t sum = 0;
    for (plan::StateOp state : plan.getBody().getOps<plan::StateOp>())
      sum += bytesAt(state, context);
    return sum;
  };
  for (plan::StateOp state : plan.getBody().getOps<plan::StateOp>())
    states.push_back({state.getName().str(), state.getElement().str(), typeText(state.getElement(), state.getShape(), all),
                      bytesAt(state, capacity)});
  exitLayers = plan.getLayers();
  for (plan::ExitOp exit : plan.getBody().getOps<plan::ExitOp>())
    exits.push_back({exit.getLayer(), exit.getConfidence().str(), exit.getThreshold().convertToDouble()});
  for (plan::EntryOp op : plan.getBody().getOps<plan::EntryOp>()) {
    Entry entry{op.getName().str(), {}, {}, op.getArena()};
    for (plan::TensorOp tensor : op.getBody().getOps<plan::TensorOp>())
      (tensor.getOutput() ? entry.outputs : entry.inputs)
          .push_back(tensor.getName().str() + ": " + typeText(tensor.getElement(), tensor.getShape(), all));
    memory.arena = std::max(memory.arena, op.getArena());
    entries.push_back(std::move(entry));
  }
  std::set<int64_t> contexts = {0};
  if (capacity > 0) {
    // Groups of tokens come at once.
    memory.bytesPerToken = capacity > least ? (statesAt(capacity) - statesAt(least)) / (capacity - least) : 0;
    contexts = {capacity};
    for (int64_t usual : {512, 2048, 4096})
      if (usual < capacity)
        contexts.insert(usual);
  }
  for (int64_t context : contexts)
    memory.contexts.push_back({context, statesAt(context), memory.weights + memory.arena + statesAt(context)});
}

std::vector<Estimate> Report::estimates() const {
  if (!token.any() || !memory.bytesPerToken)
    return {};
  return estimate(token, memory.bytesPerToken * std::min(kEstimatedContext, memory.contexts.back().context));
}

json::Value Report::toJson() const {
  json::Object counts, times;
  for (auto &[name, count] : layers)
    counts[name] = count;
  for (auto &[phase, time] : seconds)
    times[phase] = time;
  json::Array symbolList, stateList, entryList, codeList, contextList;
  for (const Symbol &symbol : symbols)
    symbolList.push_back(json::Object{{"name", symbol.name}, {"role", symbol.role}, {"min", symbol.min}, {"max", symbol.max}});
  for (const State &state : states)
    stateList.push_back(json::Object{{"name", state.name}, {"type", state.shape}, {"bytes", state.bytes}});
  for (const Entry &entry : entries)
    entryList.push_back(json::Object{{"name", entry.name},
                                     {"inputs", json::Array(entry.inputs)},
                                     {"outputs", json::Array(entry.outputs)},
                                     {"arena_bytes", entry.arena}});
  for (const Code &image : code)
    codeList.push_back(
        json::Object{{"variant", image.variant}, {"features", json::Array(image.features)}, {"bytes", image.bytes}});
  for (const Memory::AtContext &at : memory.contexts)
    contextList.push_back(json::Object{{"context", at.context}, {"state_bytes", at.states}, {"total_bytes", at.total}});
  json::Array estimateList;
  for (const Estimate &it : estimates())
    estimateList.push_back(
        json::Object{{"device", it.device}, {"prefill_tokens_per_second", it.prefill}, {"decode_tokens_per_second", it.decode}});
  auto sums = [&](const char *what, LedgerEntry::Kind kind) {
    Losses losses(ledger, kind);
    if (!losses.count)
      return json::Object();
    return json::Object{{what, losses.count},
                        {"bytes_before", losses.before},
                        {"bytes_after", losses.after},
                        {"mean_relative_error", losses.mean},
                        {"worst_relative_error", losses.worst->error},
                        {"worst_weight", losses.worst->weight}};
  };
  json::Object cache;
  if (Losses losses(ledger, LedgerEntry::Kind::cache); losses.count)
    cache = json::Object{
        {"type", losses.worst->scheme}, {"caches", losses.count}, {"bytes_before", losses.before}, {"bytes_after", losses.after}};
  json::Object kept;
  if (const auto &use = calibrationCache; !use.folder.empty())
    kept = json::Object{{"folder", use.folder},
                        {"results_taken", use.taken},
                        {"bytes_taken", use.takenBytes},
                        {"results_added", use.added},
                        {"bytes_added", use.addedBytes}};
  json::Object textParts;
  if (text.vocabulary)
    textParts = json::Object{
        {"vocabulary", text.vocabulary}, {"tokenizer_bytes", text.tokenizerBytes}, {"template_bytes", text.templateBytes}};
  json::Array exitList;
  for (const Exit &exit : exits)
    exitList.push_back(json::Object{{"layer", exit.layer}, {"confidence", exit.confidence}, {"threshold", exit.threshold}});
  return json::Object{{"model", model},
                      {"output", output},
                      {"other_files", json::Array(otherFiles)},
                      {"target", target},
                      {"source_sha256", sourceSha256},
                      {"file_bytes", fileBytes},
                      {"metadata_bytes", metadataBytes},
                      {"layers", std::move(counts)},
                      {"pruned", sums("parts", LedgerEntry::Kind::part)},
                      {"kv_heads", sums("layers", LedgerEntry::Kind::heads)},
                      {"quantized", sums("weights", LedgerEntry::Kind::weight)},
                      {"quantized_cache", std::move(cache)},
                      {"ledger", edgecc::toJson(ledger)},
                      {"exits", std::move(exitList)},
                      {"calibration_cache", std::move(kept)},
                      {"estimates", std::move(estimateList)},
                      {"symbols", std::move(symbolList)},
                      {"states", std::move(stateList)},
                      {"entries", std::move(entryList)},
                      {"code", std::move(codeList)},
                      {"text", std::move(textParts)},
                      {"memory", json::Object{{"weight_bytes", memory.weights},
                                              {"arena_bytes", memory.arena},
                                              {"kv_bytes_per_token", memory.bytesPerToken},
                                              {"contexts", std::move(contextList)}}},
                      {"seconds", std::move(times)}};
}

void Report::print(raw_ostream &os) const {
  os << output << ": " << bytesText(fileBytes) << ", model '" << model << "', target " << target << "\n";
  if (!layers.empty()) {
    os << "  layers   ";
    for (auto [i, layer] : llvm::enumerate(layers))
      os << (i ? ", " : " ") << layer.second << " " << layer.first;
    os << "\n";
  }
  for (auto [kind, said] :
       {std::pair(LedgerEntry::Kind::part, "pruned    %llu parts, "), {LedgerEntry::Kind::weight, "quantized %llu weights, "}})
    if (Losses losses(ledger, kind); losses.count)
      os << "  " << format(said, (unsigned long long)losses.count) << bytesText(losses.before) << " to "
         << bytesText(losses.after) << format(", relative error %.4f, at most %.4f (", losses.mean, losses.worst->error)
         << losses.worst->weight << ")\n";
  if (Losses losses(ledger, LedgerEntry::Kind::heads); losses.count) {
    os << "  KV heads  of " << losses.count << " layers, " << bytesText(losses.before) << " to " << bytesText(losses.after)
       << format(" per token, error of a layer at most %.4f (", losses.worst->error) << losses.worst->layer << ")";
    if (auto kl = losses.worst->figures.find("model_kl"); kl != losses.worst->figures.end())
      os << format(", KL divergence %.5f nats per token", kl->second);
    os << "\n";
  }
  if (Losses losses(ledger, LedgerEntry::Kind::cache); losses.count)
    os << "  cache     " << losses.worst->scheme << " instead of the model's, " << bytesText(losses.before) << " to "
       << bytesText(losses.after) << " at the longest context\n";
  if (const auto &use = calibrationCache; !use.folder.empty())
    os << "  samples   " << use.taken << " results of earlier compiles (" << bytesText(use.takenBytes) << "), " << use.added
       << " new (" << bytesText(use.addedBytes) << "), in " << use.folder << "\n";
  for (const Exit &exit : exits)
    os << "  exit      after " << exit.layer << " of " << exitLayers << " layers"
       << format(" if the %s is at least %.3f\n", exit.confidence.c_str(), exit.threshold);
  if (!symbols.empty()) {
    os << "  sizes    ";
    for (auto [i, symbol] : llvm::enumerate(symbols)) {
      os << (i ? ", " : " ") << symbol.name << " " << symbol.min;
      if (symbol.min != symbol.max)
        os << ".." << symbol.max;
    }
    os << "\n";
  }
  if (!states.empty())
    os << "  states    " << states.size() << " x " << states.front().shape << (states.size() > 1 ? " and so on\n" : "\n");
  for (const Entry &entry : entries)
    os << "  entry     " << entry.name << "(" << join(entry.inputs, ", ") << ") -> (" << join(entry.outputs, ", ") << ")\n";
  if (text.vocabulary) {
    os << "  text      " << text.vocabulary << " tokens (" << bytesText(text.tokenizerBytes) << "), ";
    if (text.templateBytes)
      os << "chat template (" << bytesText(text.templateBytes) << ")\n";
    else
      os << "no chat template\n";
  }
  for (const Code &image : code)
    os << "  code      " << image.variant << " " << bytesText(image.bytes) << "\n";
  for (const std::string &file : otherFiles)
    os << "  link      " << file << "\n";
  os << "  memory    weights " << bytesText(memory.weights) << " (mapped), arena " << bytesText(memory.arena);
  if (memory.bytesPerToken)
    os << ", cache " << bytesText(memory.bytesPerToken) << " per token";
  os << "\n";
  for (const Memory::AtContext &at : memory.contexts) {
    os << "            " << bytesText(at.total) << " in all";
    if (at.context)
      os << " at context " << at.context << " (cache " << bytesText(at.states) << ")";
    os << "\n";
  }
  if (auto list = estimates(); !list.empty()) {
    os << "  estimate  tokens/s from bytes and multiply-adds, not measured; prompts, then at context " << kEstimatedContext
       << ":\n";
    for (const Estimate &it : list)
      os << format("            %6.0f %6.1f  ", it.prefill, it.decode) << it.device << "\n";
  }
  os << "  time     ";
  for (auto [i, phase] : llvm::enumerate(seconds))
    os << (i ? ", " : " ") << phase.first << format(" %.1f s", phase.second);
  os << "\n";
}

} // namespace edgecc
