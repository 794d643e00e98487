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

func::FuncOp functionOf(BlockArgument argument) { return cast<func::FuncOp>(argument.getOwner()->getParentOp()); }
bool isState(BlockArgument argument) {
  return bool(functionOf(argument).getArgAttr(argument.getArgNumber(), edge::EdgeDialect::kStateAttr));
}
StringRef nameOf(BlockArgument argument) {
  auto name = functionOf(argument).getArgAttrOfType<StringAttr>(argument.getArgNumber(), edge::EdgeDialect::kNameAttr);
  return name ? name.getValue() : "unnamed";
}

/// The error says why it stays as it is: others than append and attention read the state.
llvm::Expected<Cache> understand(BlockArgument state) {
  auto refuse = [&](const Twine &reason) {
    return llvm::createStringError("the cache " + nameOf(state) + " stays as it is: " + reason);
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

/// Those that can be kept as `type`, an error if there is none. `remark`: which cannot, and why.
llvm::Expected<SmallVector<Cache>> cachesOf(func::FuncOp function, CacheType type, StringRef text, bool remark) {
  SmallVector<Cache> caches;
  for (BlockArgument argument : function.getArguments()) {
    if (!isState(argument))
      continue;
    auto cache = understand(argument);
    if (!cache) {
      std::string why = llvm::toString(cache.takeError());
      if (remark)
        function.emitRemark() << why;
      continue;
    }
    int64_t dim = cast<RankedTensorType>(argument.getType()).getDimSize(3);
    if (type == CacheType::Int4 && dim % 8 != 0)
      return llvm::createStringError("the cache " + nameOf(argument) + " has heads of " + Twine(dim) +
                                     " numbers; int4 wants a multiple of 8, int8 takes any");
    if (type == CacheType::Int4 && cache->isKey && cache->isValue)
      return llvm::createStringError("the cache " + nameOf(argument) +
                                     " is keys and values in one, which int4 keeps in different forms; int8 takes it");
    caches.push_back(*cache);
  }
  if (caches.empty())
    return llvm::createStringError("the model has no KV cache that a session keeps and attention alone reads: there is nothing "
                                   "to keep as " +
                                   text + " (--remarks says why a cache was not recognised)");
  return caches;
}

struct QuantizeCache : impl::QuantizeCacheBase<QuantizeCache> {
  using QuantizeCacheBase::QuantizeCacheBase;

  void runOnOperation() override {
    auto wanted = parseCacheType(type);
    if (!wanted) {
      getOperation().emitError() << "type: '" << type << "' is no type of a cache; write f32, f16, int8 or int4";
      return signalPassFailure();
    }
    auto main = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!main) {
      getOperation().emitError() << "there is no function main";
      return signalPassFailure();
    }
    auto caches = cachesOf(main, *wanted, type, /*remark=*/true);
    if (!caches) {
      main.emitError() << llvm::toString(caches.takeError());
      return signalPassFailure();
    }
    std::vector<LedgerEntry> ledger;
    for (Cache &cache : *caches)
      change(main, cache, *wanted, ledger);
    renumber(main);
    if (!ledger.empty())
      addToLedger(getOperation(), ledger);
  }

private:
  void change(func::FuncOp function, Cache &cache, CacheType wanted, std::vector<LedgerEntry> &ledger) {
    auto before = cast<RankedTensorType>(cache.state.getType());
    int64_t dim = before.getDimSize(3);
    SmallVector<RankedTensorType> states;
    edge::CacheAttr attribute;
    switch (wanted) {
    case CacheType::F32:
    case CacheType::F16: {
      Builder builder(&getContext());
      Type element = wanted == CacheType::F32 ? Type(builder.getF32Type()) : builder.getF16Type();
      if (element == before.getElementType())
        return;
      states = {edge::tensorType(edge::shapeOf(before), element)};
      break;
    }
    case CacheType::Int8: attribute = edge::CacheAttr::get(&getContext(), 8, dim, edge::CacheForm::Token); break;
    case CacheType::Int4:
      attribute = edge::CacheAttr::get(&getContext(), 4, dim, cache.isKey ? edge::CacheForm::Channel : edge::CacheForm::Token);
    }
    if (attribute)
      states = edge::CacheLayout(attribute).statesFor(before);
    ledger.push_back(entryFor(cache.state, before, states));
    replace(function, cache, states, attribute);
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

llvm::Error checkCaches(func::FuncOp main, StringRef type) {
  auto wanted = parseCacheType(type);
  if (!wanted)
    return llvm::Error::success();
  // The pass will remark what it leaves; of one that will not come, it is remarked here.
  if (auto caches = cachesOf(main, *wanted, type, /*remark=*/false))
    return llvm::Error::success();
  else
    llvm::consumeError(caches.takeError());
  return cachesOf(main, *wanted, type, /*remark=*/true).takeError();
}

} // namespace edgecc
