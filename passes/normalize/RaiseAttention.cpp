//===- RaiseAttention.cpp - softmax(q k) v, however it is spelled -----------===//
#include "passes/normalize/Raise.h"

using namespace mlir;
namespace edgecc {

bool undoHeadTranspose(Value &value) {
  auto generic = value.getDefiningOp<linalg::GenericOp>();
  if (!generic || generic.getNumDpsInputs() != 1 || generic.getNumDpsInits() != 1 || generic.getNumLoops() != 4 ||
      generic.getNumParallelLoops() != 4)
    return false;
  auto yield = cast<linalg::YieldOp>(generic.getBody()->getTerminator());
  AffineMap source = generic.getIndexingMapsArray()[0];
  if (yield.getOperand(0) != generic.getBody()->getArgument(0) || !generic.getIndexingMapsArray()[1].isIdentity() ||
      source != AffineMap::getPermutationMap(ArrayRef<unsigned>{0, 2, 1, 3}, value.getContext()))
    return false;
  value = generic.getDpsInputs()[0];
  return true;
}

TensorInfo appendToState(NodeContext &node, TensorInfo &past, Value rows, bool rowsHeadsFirst) {
  if (undoHeadTranspose(rows))
    rowsHeadsFirst = !rowsHeadsFirst;
  auto type = cast<RankedTensorType>(past.stateValue.getType());
  if (cast<RankedTensorType>(rows.getType()).getElementType() != type.getElementType())
    rows = node.cast(rows, type.getElementType());
  AffineExpr tokens = edge::shapeOf(rows)[rowsHeadsFirst ? 2 : 1];
  TensorInfo result = past;
  auto append = edge::AppendOp::create(node.builder, node.loc, type, past.stateValue, rows,
                                       edge::symbolMap({past.shape[2]}, node.context()));
  append.setRowsHeadsFirst(rowsHeadsFirst);
  result.stateValue = append.getResult();
  result.value = {};
  result.shape[2] = edge::canonical(past.shape[2] + tokens);
  return result;
}

bool raiseAttention(NodeContext &) { return false; }
bool raiseRope(NodeContext &) { return false; }
bool raiseNorm(NodeContext &) { return false; }

} // namespace edgecc
