//===- Algorithms.cpp -------------------------------------------------------===//
#include "passes/quantize/Algorithms.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringSwitch.h"

using namespace llvm;
namespace edgecc {

Expected<QuantizeAlgorithms> parseAlgorithms(StringRef text) {
  auto wrong = [&](const Twine &what) {
    return createStringError("'" + text + "' " + what +
                             "; write rtn (to nearest), or some of rotate, awq or smoothquant, llm-int8, gptq: awq,gptq");
  };
  QuantizeAlgorithms result;
  bool nearest = false;
  SmallVector<StringRef> words;
  text.split(words, ',');
  for (StringRef word : words) {
    bool *known = StringSwitch<bool *>(word)
                      .Case("rtn", &nearest)
                      .Case("rotate", &result.rotate)
                      .Case("awq", &result.awq)
                      .Case("smoothquant", &result.smoothQuant)
                      .Case("llm-int8", &result.llmInt8)
                      .Case("gptq", &result.gptq)
                      .Default(nullptr);
    if (!known)
      return wrong("has '" + word + "', which is no algorithm");
    if (*known)
      return wrong("has " + word + " twice");
    *known = true;
  }
  if (nearest && words.size() > 1)
    return wrong("has rtn, which is what is done without the others");
  if (result.awq && result.smoothQuant)
    return wrong("has two algorithms that choose the same scales");
  return result;
}

} // namespace edgecc
