//===- PlanDialect.cpp ------------------------------------------------------===//
#include "dialects/plan/PlanDialect.h"
#include "mlir/IR/Builders.h"

#include "dialects/plan/PlanDialect.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/plan/PlanOps.cpp.inc"

void edgecc::plan::PlanDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialects/plan/PlanOps.cpp.inc"
      >();
}
