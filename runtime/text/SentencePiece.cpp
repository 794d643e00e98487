//===- SentencePiece.cpp - Vocabularies through libsentencepiece ------------===//
#include "runtime/text/Tokenizer.h"

#ifdef EDGECC_HAVE_SENTENCEPIECE
#include <cstdlib>
#include <sentencepiece_processor.h>
#endif

namespace edgecc::text {

#ifdef EDGECC_HAVE_SENTENCEPIECE
namespace {

class SentencePiece final : public Tokenizer {
public:
  explicit SentencePiece(std::unique_ptr<sentencepiece::SentencePieceProcessor> processor) : processor(std::move(processor)) {}

  std::vector<int64_t> encode(std::string_view text) const override {
    std::vector<int> ids;
    processor->Encode(absl::string_view(text.data(), text.size()), &ids).IgnoreError();
    std::vector<int64_t> tokens(ids.begin(), ids.end());
    if (processor->bos_id() >= 0)
      tokens.insert(tokens.begin(), processor->bos_id());
    return tokens;
  }

  std::string decode(int64_t previous, int64_t id) const override {
    if (id < 0 || id >= size() || processor->IsControl(int(id)))
      return "";
    const std::string &piece = processor->IdToPiece(int(id));
    if (processor->IsByte(int(id)))
      return std::string(1, char(strtol(piece.c_str() + 3, nullptr, 16))); // "<0x41>"
    std::string text;
    const std::string_view space = "\xe2\x96\x81"; // U+2581 stands for a space
    for (size_t at = 0; at < piece.size();) {
      const bool isSpace = piece.compare(at, space.size(), space) == 0;
      text += isSpace ? ' ' : piece[at];
      at += isSpace ? space.size() : 1;
    }
    const bool first = previous < 0 || processor->IsControl(int(previous));
    return first && !text.empty() && text[0] == ' ' ? text.substr(1) : text;
  }

  int64_t size() const override { return processor->GetPieceSize(); }

  std::vector<int64_t> ends() const override {
    std::vector<int64_t> ids;
    for (int id : {processor->eos_id(), processor->bos_id()})
      if (id >= 0)
        ids.push_back(id);
    return ids;
  }

private:
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor;
};

} // namespace

std::unique_ptr<Tokenizer> parseSentencePiece(std::string_view bytes, std::string &error) {
  auto processor = std::make_unique<sentencepiece::SentencePieceProcessor>();
  const auto status = processor->LoadFromSerializedProto(absl::string_view(bytes.data(), bytes.size()));
  if (!status.ok()) {
    error = "neither a llama2.c vocabulary nor a SentencePiece model: " + status.ToString();
    return nullptr;
  }
  return std::make_unique<SentencePiece>(std::move(processor));
}
#else
std::unique_ptr<Tokenizer> parseSentencePiece(std::string_view, std::string &error) {
  error = "not a llama2.c vocabulary, and this program was built without libsentencepiece: give ids";
  return nullptr;
}
#endif

} // namespace edgecc::text
