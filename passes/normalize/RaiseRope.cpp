#include "passes/normalize/RaiseViews.h"
namespace edgecc {
bool raiseRope(NodeContext &) { return false; }
} // namespace edgecc
