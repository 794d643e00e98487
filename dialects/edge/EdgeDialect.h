//===- EdgeDialect.h --------------------------------------------------------===//
#ifndef EDGECC_DIALECTS_EDGE_EDGEDIALECT_H
#define EDGECC_DIALECTS_EDGE_EDGEDIALECT_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/edge/EdgeDialect.h.inc"
#include "dialects/edge/EdgeEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/edge/EdgeAttrs.h.inc"
#define GET_OP_CLASSES
#include "dialects/edge/EdgeOps.h.inc"

#endif // EDGECC_DIALECTS_EDGE_EDGEDIALECT_H
