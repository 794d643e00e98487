#include "passes/normalize/Converter.h"

using namespace mlir;
namespace edgecc {

void addMoves(ConversionTable &table) { table.domain(""); }

} // namespace edgecc
