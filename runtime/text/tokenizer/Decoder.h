//===- Decoder.h - From ids to text, one id at a time ------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_TOKENIZER_DECODER_H
#define EDGECC_RUNTIME_TEXT_TOKENIZER_DECODER_H

#include "runtime/text/tokenizer/Tokenizer.h"

namespace edgecc::text {

/// Turns ids into text. All that feed() and finish() append is what HF tokenizers decode the whole sequence to.
class Decoder {
public:
  explicit Decoder(const CompiledTokenizer &tokenizer, bool skipSpecial = true);

  /// Treats the next id as one that follows others, which have been decoded elsewhere.
  void resume();
  /// Appends the text that is certain after `id`: whole characters only. An id that does not exist adds nothing. Returns false
  /// when memory ran out.
  bool feed(uint32_t id, Buffer<char> &text);
  /// Appends the text that was held back. The next feed() starts another sequence.
  bool finish(Buffer<char> &text);

private:
  struct State {
    Buffer<char> text; ///< the token as this step leaves it, or what the step holds back
    bool hasSeen = false;
    uint32_t count = 0; ///< Strip: how often the text was stripped at its start
  };

  void run(uint32_t step, std::string_view token, Buffer<char> &out);
  void flushBytes(uint32_t step, Buffer<char> &out);
  void replaceText(uint32_t step, std::string_view piece, bool isLast, Buffer<char> &out);
  void stripText(uint32_t step, std::string_view piece, bool isLast, Buffer<char> &out);
  std::string_view stripToken(const DecodeStep &description, std::string_view token) const;
  void write(std::string_view piece, Buffer<char> &out);
  std::string_view textA(const DecodeStep &description) const { return {data + description.offsetA, description.lengthA}; }
  std::string_view textB(const DecodeStep &description) const { return {data + description.offsetB, description.lengthB}; }

  const CompiledTokenizer &tokenizer;
  const bool skipSpecial;
  const DecodeStep *steps;
  const char *data;
  uint32_t stepCount;
  uint32_t fused; ///< the first step that sees one text, not tokens
  State states[kMaxDecodeSteps];
  char partial[4]; ///< the start of a character
  uint32_t partialSize = 0;
};

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_TOKENIZER_DECODER_H
