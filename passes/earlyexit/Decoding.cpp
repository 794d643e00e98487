//===- Decoding.cpp - What calls say after calls that ended early -------------===//
#include "passes/earlyexit/Decoding.h"
#include "dialects/edge/Shape.h"
#include "passes/Passes.h"

using namespace mlir;
namespace edgecc::earlyexit {
namespace {

/// Where `mask` [.., tokens] is 1 the rows of `filled`, else those of `hidden`.
Value replaceRows(OpBuilder &builder, Location loc, Value mask, Value filled, Value hidden) {
  auto type = cast<RankedTensorType>(hidden.getType());
  int64_t rank = type.getRank();
  Value empty = edge::emptyTensor(builder, loc, type);
  AffineMap all = AffineMap::getMultiDimIdentityMap(rank, builder.getContext());
  SmallVector<utils::IteratorType> loops(rank, utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(builder, loc, TypeRange(type), ValueRange{mask, filled, hidden}, empty,
                                           ArrayRef<AffineMap>{all.dropResult(rank - 1), all, all, all}, loops,
                                           [](OpBuilder &b, Location loc, ValueRange args) {
    Value half = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0.5f));
    Value ended = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, args[0], half);
    linalg::YieldOp::create(b, loc, arith::SelectOp::create(b, loc, ended, args[1], args[2]).getResult());
  });
  return generic.getResult(0);
}

std::string maskName(size_t exit) { return "exit.mask." + std::to_string(exit); }

/// Another input: 1 for the tokens whose calls ended at this exit or before it.
Value addMask(func::FuncOp function, Value hidden, size_t exit) {
  Builder builder(function.getContext());
  auto type = edge::tensorType(ArrayRef<AffineExpr>(edge::shapeOf(hidden)).drop_back(), builder.getF32Type());
  auto attributes =
      builder.getDictionaryAttr({builder.getNamedAttr(edge::EdgeDialect::kNameAttr, builder.getStringAttr(maskName(exit))),
                                 builder.getNamedAttr(edge::EdgeDialect::kElementAttr, builder.getStringAttr("f32"))});
  (void)function.insertArgument(function.getNumArguments(), type, attributes, function.getLoc());
  return function.getArguments().back();
}

} // namespace

Decoding Decoding::prepare(Calibrator &calibrator, func::FuncOp function, const Layers &layers, ArrayRef<const Head *> exits,
                           unsigned exitLogits, Value logits, edge::ExitConfidence confidence) {
  IRMapping mapping;
  OpBuilder builder(function);
  auto copy = cast<func::FuncOp>(builder.clone(*function, mapping));
  copy.setName((function.getName() + ".decoding").str());
  SmallVector<Value> hidden, values;
  for (Value state : layers.hidden)
    hidden.push_back(mapping.lookup(state));
  Decoding decoding;
  for (const Head *exit : exits) {
    decoding.layers.push_back(exit->layer);
    values.push_back(mapping.lookup(exit->outputs[exitLogits]));
    if (confidence == edge::ExitConfidence::State)
      values.append({hidden[exit->layer], hidden[exit->layer - 1]});
  }
  values.push_back(mapping.lookup(logits));
  for (auto [i, exit] : llvm::enumerate(exits)) {
    unsigned next = i + 1 < exits.size() ? exits[i + 1]->layer : layers.count() - 1;
    Value kept = hidden[exit->layer], mask = addMask(copy, kept, i);
    for (unsigned layer = exit->layer + 1; layer <= next; ++layer) {
      builder.setInsertionPointAfterValue(hidden[layer]);
      Value filled = exit->maps.empty() ? kept : applyMap(builder, kept, exit->maps[layer - exit->layer - 1]);
      Value state = replaceRows(builder, copy.getLoc(), mask, filled, hidden[layer]);
      hidden[layer].replaceAllUsesExcept(state, state.getDefiningOp());
      hidden[layer] = state;
    }
  }
  decoding.count = layers.count();
  decoding.confidence = confidence;
  decoding.rank = size_t(cast<RankedTensorType>(hidden[0].getType()).getRank()) - 1;
  decoding.replay = calibrator.prepare(values);
  decoding.identity = calibrator.identify(values);
  copy.erase();
  return decoding;
}

llvm::Error Decoding::runText(const Trials &trials, const Trial &first, const TriedText &text, Schedule &plan) {
  size_t exits = layers.size(), stride = confidence == edge::ExitConfidence::State ? 3 : 1;
  std::vector<std::vector<float>> masks(exits, std::vector<float>(text.tokens));
  SmallVector<std::string> names;
  std::vector<Replay::Input> inputs;
  SmallVector<int64_t> shape(rank, 1);
  shape.back() = text.tokens;
  std::vector<bool> ended(text.end - text.begin);
  auto decide = [&](size_t exit, size_t decision, double sure, bool agrees) {
    if (ended[decision - text.begin] || float(sure) < float(plan.thresholds[exit]))
      return;
    ended[decision - text.begin] = true;
    for (size_t later = exit; later < exits; ++later)
      masks[later][trials.token[decision]] = 1;
    ++plan.taken[exit];
    plan.right[exit] += agrees;
    plan.agreeing += agrees;
    plan.layers += layers[exit];
  };
  for (size_t i = 0; i < exits; ++i)
    names.push_back(maskName(i));
  for (size_t i = 0; i < exits; ++i)
    inputs.push_back({names[i], shape, masks[i]});
  for (size_t i = text.begin; i < text.end; ++i)
    decide(0, i, first.confidence[i], first.agrees[i]);
  // An exit is as it will be as soon as it is known who ended before it; behind the last one is the end of the model.
  for (size_t exit = 1; exit <= exits; ++exit) {
    auto see = [&](ArrayRef<Observed> seen) -> llvm::Error {
      for (size_t i = text.begin; i < text.end; ++i) {
        int64_t token = trials.token[i];
        if (exit < exits) {
          ArrayRef<Observed> own = seen.slice(exit * stride, stride);
          decide(exit, i, surenessOf(confidence, own, token), likeliest(own[0].row(token)) == trials.said[i]);
        } else if (!ended[i - text.begin]) {
          plan.agreeing += likeliest(seen.back().row(token)) == trials.said[i];
          plan.layers += count;
        }
      }
      return llvm::Error::success();
    };
    if (llvm::Error error = replay->run(text.sample, inputs, see))
      return error;
  }
  return llvm::Error::success();
}

llvm::Error Decoding::run(const Trials &trials, const Trial &first, double headCost, Schedule &plan) {
  plan.taken.assign(layers.size(), 0);
  plan.right.assign(layers.size(), 0);
  plan.agreeing = 0;
  plan.layers = 0;
  for (const TriedText &text : trials.texts)
    if (llvm::Error error = runText(trials, first, text, plan))
      return error;
  // A head is paid for by who comes to it; who ends there does not need the last one.
  double heads = 0, here = double(plan.decisions);
  for (size_t taken : plan.taken) {
    heads += here - double(taken);
    here -= double(taken);
  }
  plan.layers /= double(plan.decisions);
  plan.cost = plan.layers + headCost * heads / double(plan.decisions);
  return llvm::Error::success();
}

} // namespace edgecc::earlyexit
