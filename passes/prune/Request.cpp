//===- Request.cpp ----------------------------------------------------------===//
#include "passes/prune/Request.h"
#include "passes/quantize/ByteCount.h"
#include "llvm/ADT/STLExtras.h"
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
    if (name == "ffn" || name == "heads" || name == "width") {
      if (Error error = share(name == "ffn" ? request.ffn : name == "heads" ? request.heads : request.width))
        return error;
    } else if (name == "layers") {
      if (value.getAsInteger(10, request.layers) || request.layers < 1)
        return createStringError(part + ": write how many layers shall go, e.g. layers=2");
    } else {
      return createStringError("'" + part +
                               "' is none of the things that can be pruned: ffn=0.2, heads=0.25, width=0.1, layers=2");
    }
  }
  return Error::success();
}

Expected<SizeTarget> parseSizeTarget(StringRef text) {
  SizeTarget target;
  StringRef number = text;
  if (number.consume_back("x")) {
    if (number.getAsDouble(target.factor) || !(target.factor > 0 && target.factor < 1))
      return createStringError(text + ": a factor of the size that there is, is above 0 and below 1, e.g. 0.8x");
    return target;
  }
  auto bytes = parseByteCount(text);
  if (!bytes)
    return createStringError(toString(bytes.takeError()) + ", or a factor: 0.8x");
  target.bytes = *bytes;
  return target;
}

Error checkWords(const PruneRequest &request) {
  const std::tuple<StringRef, StringRef, StringRef> words[] = {
      {"prune-method", request.method, "surgeon, flap, wanda, magnitude"},
      {"prune-compensate", request.compensation, "least-squares, bias, none"},
      {"prune-spread", request.spread, "global, even"},
      {"prune-layers-by", request.layersBy, "output, cosine"}};
  for (auto [flag, given, known] : words) {
    SmallVector<StringRef> names;
    known.split(names, ", ");
    if (!is_contained(names, given))
      return createStringError("--" + flag + "=" + given + ": there are " + known);
  }
  return Error::success();
}

Error checkTargets(const PruneRequest &request) {
  if (!request.hasTarget())
    return Error::success();
  if (!request.targetSize.empty() && request.targetSpeed > 0)
    return createStringError("--prune-target-size and --prune-target-speed aim at different things; give one");
  if (request.ffn > 0 || request.heads > 0)
    return createStringError("--prune-target-size and --prune-target-speed choose how many heads and channels go; leave ffn= and "
                             "heads= of --prune away (layers= can stay)");
  if (request.width > 0)
    return createStringError("--prune-target-size and --prune-target-speed do not count on a narrower stream; leave width= of "
                             "--prune away");
  if (!request.targetSize.empty())
    if (auto target = parseSizeTarget(request.targetSize); !target)
      return createStringError("--prune-target-size: " + toString(target.takeError()));
  return Error::success();
}

} // namespace edgecc
