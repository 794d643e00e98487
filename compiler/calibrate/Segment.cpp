//===- Segment.cpp ------------------------------------------------------------===//
#include "compiler/calibrate/Segment.h"
#include "dialects/edge/Checked.h"
#include "dialects/edge/Shape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "passes/calibrate/Digest.h"
#include "passes/lower/WeightMemory.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
namespace edgecc {

DictionaryAttr describeTensor(Builder &builder, const Twine &name, Type element) {
  std::string type;
  llvm::raw_string_ostream(type) << element;
  return builder.getDictionaryAttr(
      {builder.getNamedAttr(edge::EdgeDialect::kNameAttr, builder.getStringAttr(name)),
       builder.getNamedAttr(edge::EdgeDialect::kElementAttr, builder.getStringAttr(element.isInteger(1) ? "boolean" : type))});
}

/// Unused states go, and the others are numbered from 0: the plan wants them so.
static void keepUsedStates(func::FuncOp function) {
  llvm::BitVector unused(function.getNumArguments());
  Builder builder(function.getContext());
  int64_t number = 0;
  for (BlockArgument argument : function.getArguments()) {
    unsigned i = argument.getArgNumber();
    if (!function.getArgAttr(i, edge::EdgeDialect::kStateAttr))
      continue;
    if (argument.use_empty())
      unused.set(i);
    else
      function.setArgAttr(i, edge::EdgeDialect::kStateAttr, builder.getI64IntegerAttr(number++));
  }
  (void)function.eraseArguments(unused);
}

OwningOpRef<ModuleOp> cutSegment(func::FuncOp function, ArrayRef<Value> begins, ArrayRef<Value> ends) {
  IRMapping mapping;
  OwningOpRef<ModuleOp> module(cast<ModuleOp>(function->getParentOfType<ModuleOp>()->clone(mapping)));
  auto main = cast<func::FuncOp>(mapping.lookup(function.getOperation()));
  for (auto other : llvm::make_early_inc_range(module->getOps<func::FuncOp>()))
    if (other != main)
      other.erase();
  main.setName("main");
  main->removeAttr("edge.advance");
  main->removeAttr(edge::kCheckedAttr);
  main->removeAttr(edge::kSizesAttr);
  MLIRContext *context = main.getContext();
  OpBuilder builder(context);

  SmallVector<Value> results;
  for (Value end : ends)
    results.push_back(mapping.lookup(end));
  for (auto [i, begin] : llvm::enumerate(begins)) {
    Value old = mapping.lookup(begin);
    auto type = cast<RankedTensorType>(old.getType());
    DictionaryAttr attributes = describeTensor(builder, kBeginName + Twine(i), type.getElementType());
    unsigned at = main.getNumArguments();
    (void)main.insertArgument(at, type, attributes, old.getLoc());
    old.replaceAllUsesWith(main.getArgument(at));
    llvm::replace(results, old, Value(main.getArgument(at)));
  }

  Operation *end = main.front().getTerminator();
  end->setOperands(results);
  main.setType(FunctionType::get(context, main.getArgumentTypes(), end->getOperandTypes()));
  SmallVector<Attribute> resultAttributes;
  for (auto [i, result] : llvm::enumerate(results))
    resultAttributes.push_back(
        describeTensor(builder, "end" + Twine(i), cast<RankedTensorType>(result.getType()).getElementType()));
  main.setAllResultAttrs(ArrayRef<Attribute>(resultAttributes));

  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(main.front())))
    if (isOpTriviallyDead(&op))
      op.erase();
  keepUsedStates(main);
  return module;
}

std::string digestSegment(ModuleOp segment, llvm::DenseMap<Attribute, std::string> &known) {
  std::optional<FileMappings> files;
  // Constants have names of this process; their numbers' digests stand for them. Nobody verifies a copy that is only printed.
  AttrTypeReplacer replacer;
  replacer.addReplacement([&](DenseResourceElementsAttr constant) -> Attribute {
    std::string &digest = known[constant];
    if (digest.empty()) {
      llvm::ArrayRef<char> bytes = rawBytes(constant);
      digest = Digest().add({bytes.data(), bytes.size()}).text();
      (files ? *files : files.emplace()).release(bytes.data(), int64_t(bytes.size()));
    }
    auto type = RankedTensorType::get(int64_t(digest.size()), IntegerType::get(constant.getContext(), 8));
    return DenseElementsAttr::getFromRawBuffer(type, ArrayRef<char>(digest.data(), digest.size()));
  });
  OwningOpRef<ModuleOp> copy = segment.clone();
  // Of the module's own attributes only the sizes count; the others say where it comes from and what was done to it.
  for (NamedAttribute attribute : llvm::to_vector(copy->getOperation()->getAttrs()))
    if (attribute.getName() != edge::EdgeDialect::kSymbolsAttr)
      (*copy)->removeAttr(attribute.getName());
  replacer.recursivelyReplaceElementsIn(*copy, /*replaceAttrs=*/true, /*replaceLocs=*/false, /*replaceTypes=*/false);
  std::string text;
  llvm::raw_string_ostream stream(text);
  copy->print(stream, OpPrintingFlags().printGenericOpForm().assumeVerified().useLocalScope());
  return Digest().add(text).text();
}

SmallVector<Value> liveBefore(Operation *op) {
  Block *block = op->getBlock();
  llvm::SetVector<Value> live;
  SmallVector<Value> wanted;
  for (auto it = op->getIterator(); it != block->end(); ++it)
    it->walk([&](Operation *inner) { llvm::append_range(wanted, inner->getOperands()); });
  llvm::SmallPtrSet<Value, 16> seen;
  while (!wanted.empty()) {
    Value value = wanted.pop_back_val();
    Operation *maker = value.getDefiningOp();
    // Arguments are inputs of every segment; what stands inside or behind `op` is in this one.
    if (!maker || maker->getBlock() != block || !maker->isBeforeInBlock(op) || !seen.insert(value).second)
      continue;
    bool again = isa<edge::WeightOp, edge::DimOp, edge::ReshapeOp, edge::AppendOp, tensor::EmptyOp, arith::ConstantOp>(maker) ||
                 !isa<RankedTensorType>(value.getType());
    if (again)
      maker->walk([&](Operation *inner) { llvm::append_range(wanted, inner->getOperands()); });
    else
      live.insert(value);
  }
  return live.takeVector();
}

} // namespace edgecc
