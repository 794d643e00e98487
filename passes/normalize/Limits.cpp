//===- Limits.cpp - What the model's own tables hold ------------------------===//
//
// A table of 512 positions limits the sequence to 512, whatever the defaults are. While nodes are converted they say how large a
// value may become; bounds that nobody gave shrink until it fits, and a bound that the user gave is an error. A size that must be
// a number is that number. Bounds only shrink, so what was concluded from the wider ones holds; the runtime refuses what is
// outside.
//
//===----------------------------------------------------------------------===//
#include "dialects/edge/Checked.h"
#include "passes/normalize/Converter.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
namespace edgecc {

namespace {

edge::SymbolAttr withMax(edge::SymbolAttr symbol, int64_t max) {
  return edge::SymbolAttr::get(symbol.getContext(), symbol.getName(), symbol.getMin(), max, symbol.getRole());
}

std::optional<unsigned> withRole(edge::SymbolRole role, ArrayRef<edge::SymbolAttr> symbols) {
  auto it = llvm::find_if(symbols, [&](edge::SymbolAttr symbol) { return symbol.getRole() == role; });
  return it == symbols.end() ? std::nullopt : std::optional<unsigned>(it - symbols.begin());
}

/// The symbols (by their numbers) that `largest` grows with.
SmallVector<unsigned> growing(LargestValue largest, ArrayRef<edge::SymbolAttr> symbols) {
  SmallVector<unsigned> found;
  int64_t reached = largest(symbols);
  for (auto [i, symbol] : llvm::enumerate(symbols)) {
    SmallVector<edge::SymbolAttr> fewer(symbols);
    fewer[i] = withMax(symbol, symbol.getMin());
    if (symbol.getRole() != edge::SymbolRole::Position && largest(fewer) < reached)
      found.push_back(i);
  }
  return found;
}

/// The widest bounds with `largest` at `most`, the `shrinking` symbols in proportion; nothing if there are none.
std::optional<SmallVector<edge::SymbolAttr>> shrunk(LargestValue largest, int64_t most, ArrayRef<unsigned> shrinking,
                                                    ArrayRef<edge::SymbolAttr> symbols) {
  int64_t widest = 0;
  for (unsigned i : shrinking)
    widest = std::max(widest, symbols[i].getMax());
  auto scaled = [&](int64_t part) {
    SmallVector<edge::SymbolAttr> result(symbols);
    for (unsigned i : shrinking)
      result[i] = withMax(symbols[i], std::max(symbols[i].getMin(), int64_t(double(symbols[i].getMax()) * part / widest)));
    return result;
  };
  if (shrinking.empty() || largest(scaled(0)) > most)
    return std::nullopt;
  int64_t fits = 0, tooMuch = widest;
  while (tooMuch - fits > 1) {
    int64_t middle = fits + (tooMuch - fits) / 2;
    (largest(scaled(middle)) <= most ? fits : tooMuch) = middle;
  }
  return scaled(fits);
}

} // namespace

/// A session holds as many positions as its context, and no call brings more tokens.
void Converter::setSymbols(SmallVector<edge::SymbolAttr> symbols) {
  if (auto capacity = withRole(edge::SymbolRole::Capacity, symbols)) {
    int64_t most = symbols[*capacity].getMax();
    auto called = dyn_cast<AffineSymbolExpr>(tokens);
    for (auto [i, symbol] : llvm::enumerate(symbols)) {
      if (!isGiven[i] && symbol.getRole() == edge::SymbolRole::Position)
        symbol = withMax(symbol, most);
      else if (!isGiven[i] && called && called.getPosition() == i)
        symbol = withMax(symbol, std::max(symbol.getMin(), std::min(symbol.getMax(), most)));
    }
  }
  module->setAttr(edge::EdgeDialect::kSymbolsAttr, builder.getArrayAttr(SmallVector<Attribute>(symbols.begin(), symbols.end())));
}

int64_t Converter::largest(AffineExpr value, ArrayRef<edge::SymbolAttr> symbols) {
  value = edge::canonical(value);
  int64_t most = edge::boundsOf(value, symbols).second;
  auto capacity = withRole(edge::SymbolRole::Capacity, symbols), held = withRole(edge::SymbolRole::Position, symbols);
  if (!capacity || !held)
    return most;
  // Where it grows with what is held: held + tokens is at most the context.
  SmallVector<edge::SymbolAttr> fewer(symbols);
  fewer[*held] = withMax(symbols[*held], symbols[*held].getMin());
  if (edge::boundsOf(value, fewer).second == most)
    return most;
  AffineExpr context = getAffineSymbolExpr(*capacity, this->context());
  return std::min(most, edge::boundsOf(edge::canonical(value.replace(position, context - tokens)), symbols).second);
}

LogicalResult Converter::limit(onnx::NodeOp node, LargestValue largest, int64_t most, Complaint complaint) {
  SmallVector<edge::SymbolAttr> symbols = edge::symbolsOf(module);
  int64_t reached = largest(symbols);
  if (reached <= most)
    return success();
  SmallVector<unsigned> all = growing(largest, symbols), shrinking(all);
  llvm::erase_if(shrinking, [&](unsigned i) { return isGiven[i]; });
  if (auto fitting = shrunk(largest, most, shrinking, symbols)) {
    setSymbols(*fitting);
    return success();
  }
  std::string text = complaint(reached), advice;
  llvm::raw_string_ostream stream(advice);
  auto fitting = shrunk(largest, most, all, symbols);
  for (unsigned i : fitting ? all : SmallVector<unsigned>()) {
    edge::SymbolAttr symbol = (*fitting)[i];
    stream << (advice.empty() ? "; give " : " ");
    if (symbol.getRole() == edge::SymbolRole::Capacity)
      stream << "--context " << symbol.getMax();
    else
      stream << "--dim " << symbol.getName().getValue() << "=" << symbol.getMin() << ".." << symbol.getMax();
  }
  report(node, text + (advice.empty() ? "; give tighter bounds with --dim" : advice));
  // Said once: the layers that follow read the same.
  if (fitting)
    setSymbols(*fitting);
  return failure();
}

LogicalResult Converter::fix(onnx::NodeOp node, AffineExpr size, int64_t number) {
  SmallVector<edge::SymbolAttr> symbols = edge::symbolsOf(module);
  std::optional<unsigned> only;
  bool areSeveral = false;
  size.walk([&](AffineExpr part) {
    if (auto symbol = dyn_cast<AffineSymbolExpr>(part)) {
      areSeveral |= only && *only != symbol.getPosition();
      only = symbol.getPosition();
    }
  });
  auto [least, most] = edge::boundsOf(size, symbols);
  if (number < least || number > most) {
    std::string advice = only && !areSeveral ? "; give other bounds of " + symbols[*only].getName().str() + " with --dim" : "";
    report(node, "a size must be " + Twine(number) + ", but is " + Twine(least) + " to " + Twine(most) + advice);
    return failure();
  }
  // The runtime checks a size that no single symbol decides.
  if (areSeveral || symbols[*only].getRole() != edge::SymbolRole::Free) {
    required.push_back(edge::canonical(size - number));
    required.push_back(edge::canonical(number - size));
    return success();
  }
  edge::SymbolAttr symbol = symbols[*only];
  auto fixAt = [&](int64_t value) {
    symbols[*only] = edge::SymbolAttr::get(context(), symbol.getName(), value, value, symbol.getRole());
    return edge::boundsOf(size, symbols).first;
  };
  int64_t low = symbol.getMin(), high = symbol.getMax();
  bool grows = fixAt(low) <= fixAt(high);
  while (low < high) {
    int64_t middle = low + (high - low) / 2, value = fixAt(middle);
    if (grows ? value >= number : value <= number)
      high = middle;
    else
      low = middle + 1;
  }
  if (fixAt(low) != number) {
    report(node, "a size must be " + Twine(number) + ", which no " + symbol.getName().getValue() + " gives");
    return failure();
  }
  setSymbols(symbols);
  return success();
}

/// Which sizes of the function could be negative for some values of the symbols, so that the runtime has to look.
void Converter::requireSizes() {
  SmallVector<edge::SymbolAttr> symbols = edge::symbolsOf(module);
  llvm::SetVector<AffineExpr> sizes;
  auto add = [&](AffineExpr size) {
    if (edge::boundsOf(size, symbols).first < 0)
      sizes.insert(size);
  };
  for (AffineExpr size : required)
    add(size);
  for (Operation &op : function.front())
    for (Value result : op.getResults())
      if (isa<RankedTensorType>(result.getType()))
        for (AffineExpr size : edge::shapeOf(result))
          add(size);
  if (!sizes.empty())
    function->setAttr(edge::kSizesAttr, AffineMapAttr::get(edge::symbolMap(sizes.getArrayRef(), context())));
}

FailureOr<bool> NodeContext::endsInside(AffineExpr end, AffineExpr size, const Twine &what) {
  AffineExpr behind = edge::canonical(end - size);
  auto symbols = edge::symbolsOf(node);
  if (converter.largest(behind, symbols) <= 0)
    return true;
  // Bounds cannot say that one free size is at most another.
  for (auto [i, symbol] : llvm::enumerate(symbols)) {
    SmallVector<edge::SymbolAttr> fewer(symbols);
    fewer[i] = edge::SymbolAttr::get(context(), symbol.getName(), symbol.getMax(), symbol.getMax(), symbol.getRole());
    if (symbol.getRole() == edge::SymbolRole::Free &&
        edge::boundsOf(behind, fewer).second < edge::boundsOf(behind, symbols).second) {
      converter.required.push_back(edge::canonical(size - end));
      return false;
    }
  }
  auto limited = converter.limit(node, [&](ArrayRef<edge::SymbolAttr> bounds) { return converter.largest(behind, bounds); }, 0,
                                 [&](int64_t reached) {
    int64_t least = edge::boundsOf(size, symbols).first;
    return ("reads up to " + Twine(reached + least) + " of " + Twine(least) + " " + what).str();
  });
  return failed(limited) ? FailureOr<bool>(failure()) : true;
}

LogicalResult NodeContext::rowsInside(Value ids, AffineExpr rows) {
  auto count = dyn_cast<AffineConstantExpr>(rows);
  if (!count)
    return success();
  // Positions grow along the ids: the last one, at the largest sizes that a session can have, is evaluated like a mask.
  auto last = [&](ArrayRef<edge::SymbolAttr> symbols) {
    SmallVector<int64_t> sizes, indices;
    for (edge::SymbolAttr symbol : symbols)
      sizes.push_back(symbol.getMax());
    auto capacity = withRole(edge::SymbolRole::Capacity, symbols), held = withRole(edge::SymbolRole::Position, symbols);
    if (capacity && held) {
      auto called = dyn_cast<AffineSymbolExpr>(converter.tokens);
      if (called)
        sizes[called.getPosition()] = std::min(sizes[called.getPosition()], sizes[*capacity]);
      sizes[*held] = std::max<int64_t>(sizes[*capacity] - PointEvaluator(sizes).size(converter.tokens), 0);
    }
    PointEvaluator evaluator(sizes);
    for (AffineExpr extent : edge::shapeOf(ids))
      indices.push_back(evaluator.size(extent) - 1);
    return int64_t(evaluator.number(ids, indices).value_or(0));
  };
  return converter.limit(node, last, count.getValue() - 1, [&](int64_t reached) {
    return ("looks up row " + Twine(reached) + " of a table of " + Twine(count.getValue()) + " rows").str();
  });
}

} // namespace edgecc
