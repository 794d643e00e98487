//===- Request.cpp ----------------------------------------------------------===//
#include "passes/prune/Request.h"
#include "llvm/ADT/SmallVector.h"

using namespace llvm;
namespace edgecc {

Error parsePrune(StringRef text, PruneRequest &request) {
  SmallVector<StringRef> parts;
  text.split(parts, ',', -1, /*KeepEmpty=*/false);
  for (StringRef part : parts) {
    auto [name, value] = part.split('=');
    auto share = [&](double &to) -> Error {
      if (value.getAsDouble(to) || !(to > 0 && to < 1))
        return createStringError(name + "=" + value + ": a share is a number above 0 and below 1, e.g. " + name + "=0.2");
      return Error::success();
    };
    if (name == "ffn" || name == "heads") {
      if (Error error = share(name == "ffn" ? request.ffn : request.heads))
        return error;
    } else if (name == "layers") {
      if (value.getAsInteger(10, request.layers) || request.layers < 1)
        return createStringError(part + ": write how many layers shall go, e.g. layers=2");
    } else {
      return createStringError("'" + part + "' is none of the things that can be pruned: ffn=0.2, heads=0.25, layers=2");
    }
  }
  return Error::success();
}

} // namespace edgecc
