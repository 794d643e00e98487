//===- Scheme.cpp -----------------------------------------------------------===//
#include "passes/quantize/Scheme.h"

using namespace llvm;
namespace edgecc {

static constexpr const char *kAccepted =
    "w4 or w8 (bits of a weight), then g32, g64 or another multiple of 16 (weights that share a scale; left away: a channel), z "
    "(zero "
    "points), a8 (int8 activations, a scale per token) or a8g (one per group): w4g32a8, w8a8, w4g128, w4g32za8g; or none";

edge::QuantizationAttr Scheme::attribute(mlir::MLIRContext *context, int64_t k, bool isLookup) const {
  // A group that is the whole channel would only be filled up.
  int64_t own = group < k ? group : 0;
  auto precision = isLookup ? edge::ActivationPrecision::Float : activations;
  if (own == 0 && precision == edge::ActivationPrecision::Group)
    precision = edge::ActivationPrecision::Token;
  mlir::Type scale = own ? mlir::Type(mlir::Float16Type::get(context)) : mlir::Float32Type::get(context);
  return edge::QuantizationAttr::get(context, bits, own, scale, zeros, precision);
}

Expected<Scheme> parseScheme(StringRef text) {
  auto wrong = [&](const Twine &what) { return createStringError("'" + text + "' " + what + "; write " + kAccepted); };
  Scheme scheme;
  scheme.text = text.str();
  if (text == "none")
    return scheme;
  StringRef rest = text;
  if (!rest.consume_front("w"))
    return wrong("is no scheme of quantization");
  if (rest.consumeInteger(10, scheme.bits) || (scheme.bits != 4 && scheme.bits != 8))
    return wrong("has weights of other than 4 or 8 bits");
  if (rest.consume_front("g") &&
      (rest.consumeInteger(10, scheme.group) || scheme.group <= 0 || scheme.group > 65536 || scheme.group % 16 != 0))
    return wrong("has groups of other than a multiple of 16");
  scheme.zeros = rest.consume_front("z");
  if (rest.consume_front("a8")) {
    bool perGroup = rest.consume_front("g");
    if (perGroup && scheme.group == 0)
      return wrong("has activation scales per group but no groups");
    scheme.activations = perGroup ? edge::ActivationPrecision::Group : edge::ActivationPrecision::Token;
  }
  if (!rest.empty())
    return wrong("ends in '" + rest + "'");
  return scheme;
}

Expected<LayerScheme> parseLayerScheme(StringRef text) {
  auto [pattern, word] = text.rsplit('=');
  if (pattern.empty() || word.empty())
    return createStringError("'" + text + "': write a pattern for names of layers or weights and a scheme, e.g. lm_head*=w8a8");
  auto scheme = parseScheme(word);
  if (!scheme)
    return scheme.takeError();
  auto glob = GlobPattern::create(pattern, /*MaxSubPatterns=*/256);
  if (!glob)
    return createStringError("'" + text + "': " + toString(glob.takeError()));
  return LayerScheme{pattern.str(), std::move(*glob), std::move(*scheme)};
}

} // namespace edgecc
