//===- QuantizeCache.cpp - KV caches of fewer bits --------------------------===//
//
// Of a long context most of what a token reads is the cache. Rows are rounded by the append and read by the attention as they
// lie, so that only the states change here: README.md, "The cache".
//
//===----------------------------------------------------------------------===//
#include "dialects/edge/Cache.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/Passes.h"
#include "passes/quantize/CacheType.h"
#include "passes/quantize/Ledger.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_QUANTIZECACHE
#include "passes/Passes.h.inc"

std::optional<CacheType> parseCacheType(StringRef text) {
  for (auto [name, type] :
       {std::pair("f32", CacheType::F32), {"f16", CacheType::F16}, {"int8", CacheType::Int8}, {"int4", CacheType::Int4}})
    if (text == name)
      return type;
  return std::nullopt;
}

namespace {

/// A state, and who fills and reads it.
struct Cache {
  BlockArgument state;
  edge::AppendOp append;
  bool isKey = false, isValue = false;
};

struct QuantizeCache : impl::QuantizeCacheBase<QuantizeCache> {
  using QuantizeCacheBase::QuantizeCacheBase;

  void runOnOperation() override {
    auto wanted = parseCacheType(type);
    if (!wanted) {
      getOperation().emitError() << "type: '" << type << "' is no type of a cache; write f32, f16, int8 or int4";
      return signalPassFailure();
    }
    bool found = false;
    std::vector<LedgerEntry> ledger;
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      for (BlockArgument argument : llvm::to_vector(function.getArguments())) {
        if (!isState(argument))
          continue;
        auto cache = understand(argument);
        if (failed(cache))
          continue;
        found = true;
        if (failed(change(function, *cache, *wanted, ledger)))
          return signalPassFailure();
      }
      renumber(function);
    }
    if (!found) {
      getOperation().emitError()
          << "the model has no KV cache that a session keeps and attention alone reads: there is nothing to keep as " << type
          << " (--remarks says why a cache was not recognised)";
      return signalPassFailure();
    }
    if (!ledger.empty())
      addToLedger(getOperation(), ledger);
  }

private:
  static func::FuncOp functionOf(BlockArgument argument) { return cast<func::FuncOp>(argument.getOwner()->getParentOp()); }
  static bool isState(BlockArgument argument) {
    return bool(functionOf(argument).getArgAttr(argument.getArgNumber(), edge::EdgeDialect::kStateAttr));
  }
  static StringRef nameOf(BlockArgument argument) {
    auto name = functionOf(argument).getArgAttrOfType<StringAttr>(argument.getArgNumber(), edge::EdgeDialect::kNameAttr);
    return name ? name.getValue() : "unnamed";
  }

  /// Fails, with a remark, if others than append and attention read the state.
  static FailureOr<Cache> understand(BlockArgument state) {
    auto refuse = [&](const Twine &reason) {
      functionOf(state).emitRemark() << "the cache " << nameOf(state) << " stays as it is: " << reason;
      return failure();
    };
    if (!isa<FloatType>(cast<RankedTensorType>(state.getType()).getElementType()))
      return refuse("it is of no floating point type");
    auto append = state.hasOneUse() ? dyn_cast<edge::AppendOp>(*state.user_begin()) : edge::AppendOp();
    if (!append || append.getState() != state)
      return refuse("it is not only appended to");
    Cache cache{state, append};
    for (OpOperand &use : append.getResult().getUses()) {
      if (isa<func::ReturnOp>(use.getOwner()))
        continue;
      auto attention = dyn_cast<edge::AttentionOp>(use.getOwner());
      if (!attention || !attention.getKeyHeadsFirst() || (use.getOperandNumber() != 1 && use.getOperandNumber() != 2))
        return refuse("others than attention read it");
      (use.getOperandNumber() == 1 ? cache.isKey : cache.isValue) = true;
    }
    return cache;
  }

  LogicalResult change(func::FuncOp function, Cache &cache, CacheType wanted, std::vector<LedgerEntry> &ledger) {
    auto before = cast<RankedTensorType>(cache.state.getType());
    SmallVector<RankedTensorType> states;
    edge::CacheAttr attribute;
    Builder builder(&getContext());
    int64_t dim = before.getDimSize(3);
    switch (wanted) {
    case CacheType::F32:
    case CacheType::F16: {
      Type element = wanted == CacheType::F32 ? Type(builder.getF32Type()) : builder.getF16Type();
      if (element == before.getElementType())
        return success();
      states = {edge::tensorType(edge::shapeOf(before), element)};
      break;
    }
    case CacheType::Int8: attribute = edge::CacheAttr::get(&getContext(), 8, dim, edge::CacheForm::Token); break;
    case CacheType::Int4:
      if (dim % 8 != 0)
        return function.emitError() << "the cache " << nameOf(cache.state) << " has heads of " << dim
                                    << " numbers; int4 wants a multiple of 8, int8 takes any";
      if (cache.isKey && cache.isValue)
        return function.emitError() << "the cache " << nameOf(cache.state)
                                    << " is keys and values in one, which int4 keeps in different forms; int8 takes it";
      attribute = edge::CacheAttr::get(&getContext(), 4, dim, cache.isKey ? edge::CacheForm::Channel : edge::CacheForm::Token);
    }
    if (attribute)
      states = edge::CacheLayout(attribute).statesFor(before);
    ledger.push_back(entryFor(cache.state, before, states));
    replace(function, cache, states, attribute);
    return success();
  }

  LedgerEntry entryFor(BlockArgument state, RankedTensorType before, ArrayRef<RankedTensorType> states) {
    SmallVector<edge::SymbolAttr> symbols = edge::symbolsOf(getOperation());
    auto bytes = [&](RankedTensorType type) {
      return edge::maxElements(type, symbols) * edge::elementBytes(type.getElementType());
    };
    LedgerEntry entry;
    entry.weight = nameOf(state).str();
    entry.isCache = true;
    entry.scheme = type;
    entry.before = bytes(before);
    for (RankedTensorType part : states)
      entry.after += bytes(part);
    functionOf(state).emitRemark() << "cache '" << entry.weight << "': " << type << ", " << entry.before << " to " << entry.after
                                   << " bytes at the longest context";
    return entry;
  }

  /// The state becomes the first of `states`; the others are states behind it.
  static void replace(func::FuncOp function, Cache &cache, ArrayRef<RankedTensorType> states, edge::CacheAttr attribute) {
    MLIRContext *context = function.getContext();
    Builder builder(context);
    unsigned argument = cache.state.getArgNumber(), result = resultOf(cache.append);
    std::string name = nameOf(cache.state).str();
    static constexpr const char *kSuffixes[] = {"", ".scales"};
    auto describe = [&](unsigned i) {
      NamedAttrList list;
      list.set(edge::EdgeDialect::kStateAttr, builder.getI64IntegerAttr(0));
      list.set(edge::EdgeDialect::kNameAttr, builder.getStringAttr(name + kSuffixes[i]));
      std::string text;
      llvm::raw_string_ostream(text) << states[i].getElementType();
      list.set(edge::EdgeDialect::kElementAttr, builder.getStringAttr(text));
      return list.getDictionary(context);
    };
    cache.state.setType(states[0]);
    function.setArgAttrs(argument, describe(0));
    SmallVector<Value> parts;
    for (unsigned i = 1; i < states.size(); ++i) {
      (void)function.insertArgument(argument + i, states[i], describe(i), cache.state.getLoc());
      parts.push_back(function.getArgument(argument + i));
    }

    OpBuilder at(cache.append);
    SmallVector<Type> partTypes(ValueRange(parts).getTypes());
    auto append = edge::AppendOp::create(at, cache.append.getLoc(), states[0], partTypes, cache.state, cache.append.getRows(),
                                         parts, cache.append.getPositionAttr(), cache.append.getRowsHeadsFirstAttr(), attribute);
    for (Operation *user : llvm::to_vector(cache.append.getResult().getUsers()))
      if (auto attention = dyn_cast<edge::AttentionOp>(user); attention && attribute) {
        if (attention.getKey() == cache.append.getResult()) {
          attention.setKeyCacheAttr(attribute);
          attention.getKeyPartsMutable().assign(append.getNewParts());
        }
        if (attention.getValue() == cache.append.getResult()) {
          attention.setValueCacheAttr(attribute);
          attention.getValuePartsMutable().assign(append.getNewParts());
        }
      }
    cache.append.getResult().replaceAllUsesWith(append.getResult());
    Operation *end = function.front().getTerminator();
    for (auto [i, part] : llvm::enumerate(append.getNewParts())) {
      end->insertOperands(result + 1 + i, part);
      auto number = builder.getNamedAttr(edge::EdgeDialect::kStateAttr, builder.getI64IntegerAttr(0));
      (void)function.insertResult(result + 1 + i, part.getType(), builder.getDictionaryAttr(number));
    }
    cache.append.erase();
    function.setType(builder.getFunctionType(function.front().getArgumentTypes(), end->getOperandTypes()));
  }

  /// The operand of the function's end that is the filled state.
  static unsigned resultOf(edge::AppendOp append) {
    for (OpOperand &use : append.getResult().getUses())
      if (isa<func::ReturnOp>(use.getOwner()))
        return use.getOperandNumber();
    llvm_unreachable("a state is a result, too");
  }

  /// States are numbered as they stand.
  static void renumber(func::FuncOp function) {
    Builder builder(function.getContext());
    int64_t next = 0;
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      if (function.getArgAttr(i, edge::EdgeDialect::kStateAttr))
        function.setArgAttr(i, edge::EdgeDialect::kStateAttr, builder.getI64IntegerAttr(next++));
    next = 0;
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      if (function.getResultAttr(i, edge::EdgeDialect::kStateAttr))
        function.setResultAttr(i, edge::EdgeDialect::kStateAttr, builder.getI64IntegerAttr(next++));
  }
};

} // namespace
} // namespace edgecc
