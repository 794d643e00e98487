#include "passes/normalize/Converter.h"

using namespace mlir;
namespace edgecc {

void addMicrosoft(ConversionTable &table) { table.domain(""); }

} // namespace edgecc
