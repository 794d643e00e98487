//===- Ledger.cpp -----------------------------------------------------------===//
#include "passes/quantize/Ledger.h"
#include "dialects/edge/EdgeDialect.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
namespace edgecc {

void addToLedger(ModuleOp module, ArrayRef<LedgerEntry> entries) {
  Builder builder(module.getContext());
  SmallVector<Attribute> list;
  if (auto known = module->getAttrOfType<ArrayAttr>(edge::EdgeDialect::kLedgerAttr))
    llvm::append_range(list, known);
  for (const LedgerEntry &entry : entries) {
    NamedAttrList fields;
    fields.set(entry.isCache ? "cache" : "weight", builder.getStringAttr(entry.weight));
    fields.set("scheme", builder.getStringAttr(entry.scheme));
    fields.set("bytes_before", builder.getI64IntegerAttr(entry.before));
    fields.set("bytes_after", builder.getI64IntegerAttr(entry.after));
    if (!entry.isCache) {
      fields.set("layer", builder.getStringAttr(entry.layer));
      fields.set("error", builder.getF64FloatAttr(entry.error));
      fields.set("decibels", builder.getF64FloatAttr(entry.decibels));
    }
    NamedAttrList figures;
    for (const auto &[name, value] : entry.figures)
      figures.set(name, builder.getF64FloatAttr(value));
    if (!figures.empty())
      fields.set("figures", figures.getDictionary(module.getContext()));
    list.push_back(fields.getDictionary(module.getContext()));
  }
  module->setAttr(edge::EdgeDialect::kLedgerAttr, builder.getArrayAttr(list));
}

std::vector<LedgerEntry> readLedger(ModuleOp module) {
  std::vector<LedgerEntry> entries;
  auto list = module->getAttrOfType<ArrayAttr>(edge::EdgeDialect::kLedgerAttr);
  if (!list)
    return entries;
  for (Attribute attribute : list) {
    auto fields = dyn_cast<DictionaryAttr>(attribute);
    if (!fields)
      continue;
    auto text = [&](StringRef name) {
      auto value = fields.getAs<StringAttr>(name);
      return value ? value.str() : std::string();
    };
    auto integer = [&](StringRef name) {
      auto value = fields.getAs<IntegerAttr>(name);
      return value ? value.getInt() : 0;
    };
    auto real = [&](StringRef name) {
      auto value = fields.getAs<FloatAttr>(name);
      return value ? value.getValueAsDouble() : 0;
    };
    bool isCache = fields.contains("cache");
    entries.push_back({text(isCache ? "cache" : "weight"),
                       text("layer"),
                       text("scheme"),
                       integer("bytes_before"),
                       integer("bytes_after"),
                       real("error"),
                       real("decibels"),
                       {},
                       isCache});
    if (auto figures = fields.getAs<DictionaryAttr>("figures"))
      for (NamedAttribute figure : figures)
        if (auto value = dyn_cast<FloatAttr>(figure.getValue()))
          entries.back().figures[figure.getName().str()] = value.getValueAsDouble();
  }
  return entries;
}

} // namespace edgecc
