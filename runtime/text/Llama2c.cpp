//===- Llama2c.cpp - The vocabularies of llama2.c ---------------------------===//
//
// The format: int32 longest token, then for each token float score, int32 length, bytes. Ids: 0 unknown, 1 begin, 2 end, 3..258
// the bytes, then pieces. Text is split into characters (bytes where a character is unknown), then the neighbours whose joined
// piece has the best score are merged until none is left.
//
//===----------------------------------------------------------------------===//
#include "runtime/text/Tokenizer.h"

#include <cstring>
#include <unordered_map>

namespace edgecc::text {
namespace {

constexpr int64_t kBegin = 1, kEnd = 2, kFirstByte = 3, kFirstPiece = 259;

class Llama2c final : public Tokenizer {
public:
  bool load(std::string_view bytes);
  std::vector<int64_t> encode(std::string_view text) const override;
  std::string decode(int64_t previous, int64_t id) const override;
  int64_t size() const override { return int64_t(pieces.size()); }
  std::vector<int64_t> ends() const override { return {kBegin, kEnd}; }

private:
  int64_t find(const std::string &piece) const {
    auto found = ids.find(piece);
    return found == ids.end() ? -1 : found->second;
  }
  void append(std::string_view character, std::vector<int64_t> &tokens) const;

  std::vector<std::string> pieces;
  std::vector<float> scores;
  std::unordered_map<std::string, int64_t> ids;
};

bool Llama2c::load(std::string_view bytes) {
  auto take = [&](void *to, size_t size) {
    if (bytes.size() < size)
      return false;
    memcpy(to, bytes.data(), size);
    bytes.remove_prefix(size);
    return true;
  };
  int32_t longest = 0;
  if (!take(&longest, sizeof(longest)) || longest <= 0)
    return false;
  while (!bytes.empty()) {
    float score;
    int32_t length;
    if (!take(&score, sizeof(score)) || !take(&length, sizeof(length)) || length < 0 || length > longest ||
        size_t(length) > bytes.size())
      return false;
    pieces.emplace_back(bytes.substr(0, size_t(length)));
    scores.push_back(score);
    bytes.remove_prefix(size_t(length));
    ids.emplace(pieces.back(), int64_t(pieces.size()) - 1);
  }
  return int64_t(pieces.size()) >= kFirstPiece;
}

void Llama2c::append(std::string_view character, std::vector<int64_t> &tokens) const {
  const int64_t id = find(std::string(character));
  if (id >= 0)
    return tokens.push_back(id);
  for (char byte : character)
    tokens.push_back(kFirstByte + uint8_t(byte));
}

std::vector<int64_t> Llama2c::encode(std::string_view text) const {
  std::vector<int64_t> tokens = {kBegin};
  if (text.empty())
    return tokens;
  // The vocabulary was trained with a space in front of every text.
  append(" ", tokens);
  for (size_t at = 0; at < text.size();) {
    size_t length = 1;
    while (length < 4 && at + length < text.size() && (uint8_t(text[at + length]) & 0xc0) == 0x80)
      ++length;
    append(text.substr(at, length), tokens);
    at += length;
  }
  for (;;) {
    size_t best = 0;
    int64_t merged = -1;
    for (size_t i = 1; i + 1 < tokens.size(); ++i) {
      const int64_t id = find(pieces[size_t(tokens[i])] + pieces[size_t(tokens[i + 1])]);
      if (id >= 0 && (merged < 0 || scores[size_t(id)] > scores[size_t(merged)])) {
        best = i;
        merged = id;
      }
    }
    if (merged < 0)
      return tokens;
    tokens[best] = merged;
    tokens.erase(tokens.begin() + long(best) + 1);
  }
}

std::string Llama2c::decode(int64_t previous, int64_t id) const {
  if (id < 0 || id >= size() || id == kBegin || id == kEnd)
    return "";
  if (id >= kFirstByte && id < kFirstPiece)
    return std::string(1, char(id - kFirstByte));
  const std::string &piece = pieces[size_t(id)];
  // The space in front of the text is not part of it.
  return previous == kBegin && !piece.empty() && piece[0] == ' ' ? piece.substr(1) : piece;
}

} // namespace

std::unique_ptr<Tokenizer> parseLlama2c(std::string_view bytes) {
  auto tokenizer = std::make_unique<Llama2c>();
  return tokenizer->load(bytes) ? std::move(tokenizer) : nullptr;
}

} // namespace edgecc::text
