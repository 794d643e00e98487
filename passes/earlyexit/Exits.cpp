//===- Exits.cpp - What is asked of the pass ----------------------------------===//
#include "passes/earlyexit/Exits.h"
#include "llvm/ADT/STLExtras.h"

using namespace llvm;
namespace edgecc::earlyexit {

Expected<Request> parseRequest(const RequestText &text, bool hasSamples) {
  Request request;
  StringRef layers = text.layers;
  request.isAuto = layers == "auto";
  SmallVector<StringRef> parts;
  if (!request.isAuto)
    layers.split(parts, ',');
  for (StringRef part : parts) {
    unsigned layer = 0;
    if (part.trim().getAsInteger(10, layer))
      return createStringError("--exit-layers=" + layers + ": '" + part + "' is no number of a layer; write 4,8 or auto");
    request.layers.push_back(layer);
  }
  llvm::sort(request.layers);
  if (auto twice = std::adjacent_find(request.layers.begin(), request.layers.end()); twice != request.layers.end())
    return createStringError("--exit-layers=" + layers + ": layer " + Twine(*twice) + " is there twice");

  if (text.threshold >= 0 && text.agreement >= 0)
    return createStringError("--exit-threshold and --exit-agreement: a threshold is given, or found for an agreement");
  if (text.threshold >= 0 || text.threshold != text.threshold)
    request.threshold = text.threshold;
  if (!(request.threshold >= 0 && request.threshold <= 1))
    return createStringError("--exit-threshold=%g: a confidence is between 0 and 1", text.threshold);
  if (text.agreement >= 0 && !(text.agreement > 0 && text.agreement < 1))
    return createStringError(
        "--exit-agreement=%g: the share of early ends that are as the whole model would have it is between 0 "
        "and 1, both excluded",
        text.agreement);
  if (hasSamples && text.threshold < 0)
    request.agreement = text.agreement >= 0 ? text.agreement : 0.99;
  if (text.agreement >= 0 && !hasSamples)
    return createStringError("--exit-agreement is found on samples; give some with --calibrate");
  if (request.isAuto && request.agreement == 0)
    return createStringError(
        "--exit-layers=auto: layers are chosen by what they save on samples; give some with --calibrate, and no "
        "--exit-threshold");

  auto kind = edge::symbolizeExitConfidence(text.confidence);
  if (!kind)
    return createStringError("--exit-confidence=" + text.confidence + ": margin, entropy and state are known");
  request.confidence = *kind;
  if (!is_contained({"", "none", "affine"}, StringRef(text.map)))
    return createStringError("--exit-map=" + text.map + ": none and affine are known");
  if (text.map == "affine" && request.agreement == 0)
    return createStringError(
        "--exit-map=affine: a map is fitted on samples; give some with --calibrate, and no --exit-threshold");
  request.map = text.map == "affine" || (text.map.empty() && request.agreement != 0);
  request.verify = text.verify;
  return request;
}

} // namespace edgecc::earlyexit
