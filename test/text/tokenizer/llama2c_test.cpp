// Vocabularies of llama2.c, through compiler and runtime.
#include "compiler/text/TextEncoder.h"
#include "runtime/text/tokenizer/Decoder.h"

#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <vector>

using namespace edgecc::text;
using Ids = std::vector<int32_t>;

namespace {

void append(std::string &bytes, const std::string &piece, float score) {
  const int32_t length = int32_t(piece.size());
  bytes.append(reinterpret_cast<const char *>(&score), 4);
  bytes.append(reinterpret_cast<const char *>(&length), 4);
  bytes += piece;
}

/// The 259 fixed tokens, then pieces with falling scores.
std::string vocabulary(const std::vector<std::string> &pieces) {
  const int32_t longest = 16;
  std::string bytes(reinterpret_cast<const char *>(&longest), 4);
  for (const char *name : {"<unk>", "\n<s>\n", "\n</s>\n"})
    append(bytes, name, 0);
  for (int i = 0; i < 256; ++i) {
    char name[8];
    snprintf(name, sizeof(name), "<0x%02X>", i);
    append(bytes, name, 0);
  }
  for (size_t i = 0; i < pieces.size(); ++i)
    append(bytes, pieces[i], -float(i));
  return bytes;
}

Ids encode(TextEncoder &encoder, std::string_view text) {
  Buffer<int32_t> ids;
  EXPECT_TRUE(encoder.encode(text, ids));
  return Ids(ids.begin(), ids.end());
}

std::string decode(const TextEncoder &encoder, const Ids &ids) {
  Decoder decoder(encoder.tokenizer());
  Buffer<char> text;
  for (int32_t id : ids)
    EXPECT_TRUE(decoder.feed(uint32_t(id), text));
  EXPECT_TRUE(decoder.finish(text));
  return std::string(text.begin(), text.end());
}

TEST(Llama2c, MergesTheBestScoreFirst) {
  // 259 "ab", 260 "bc", 261 " ", 262 "a", 263 "b", 264 "c"
  TextEncoder encoder;
  ASSERT_EQ(encoder.openSegment(vocabulary({"ab", "bc", " ", "a", "b", "c"})), "");
  EXPECT_EQ(encode(encoder, "abc"), (Ids{1, 261, 259, 264}));
  EXPECT_EQ(encode(encoder, ""), (Ids{1}));
  EXPECT_EQ(encode(encoder, "\xc3\xa9"), (Ids{1, 261, 3 + 0xc3, 3 + 0xa9}));
  EXPECT_EQ(decode(encoder, encode(encoder, "abc \xc3\xa9")), "abc \xc3\xa9");
  EXPECT_EQ(decode(encoder, {1, 99999}), "");
}

TEST(Llama2c, CutVocabulariesAreRefused) {
  const std::string bytes = vocabulary({"ab", " "});
  // Down to the fixed tokens, shorter vocabularies are sound as long as they end with a token.
  for (size_t size = 0; size + 21 < bytes.size(); size += 7) {
    TextEncoder encoder;
    EXPECT_NE(encoder.openSegment(std::string_view(bytes).substr(0, size)), "") << size;
  }
}

// The two forms of one real vocabulary agree.
TEST(Llama2c, AgreesWithSentencePiece) {
  const std::string folder = EDGECC_SHARED_DATA "/models/stories260K/";
  if (!std::ifstream(folder + "tok512.bin"))
    GTEST_SKIP() << "NOT TESTED, a real vocabulary: there is no " << folder << "tok512.bin";
  TextEncoder llama, piece;
  ASSERT_EQ(llama.open(folder + "tok512.bin"), "");
  ASSERT_EQ(piece.open(folder + "tok512.model"), "");
  for (const char *text :
       {"Once upon a time, there was a little girl named Lily.", "Tom\xe2\x80\x99s 3 cats\nran  away!", "caf\xc3\xa9"}) {
    const Ids ids = encode(llama, text);
    EXPECT_EQ(decode(llama, ids), text);
    EXPECT_EQ(decode(piece, ids), text);
  }
  const char *plain = "Once upon a time, there was a little girl named Lily.";
  EXPECT_EQ(encode(llama, plain), encode(piece, plain));
}

TEST(TextEncoder, FindsTheEndOfAPrompt) {
  TextEncoder encoder;
  ASSERT_EQ(encoder.openSegment(vocabulary({"ab", "bc", " ", "a", "b", "c"})), "");
  Buffer<int32_t> ids;
  size_t prompt = 0;
  EXPECT_EQ(encoder.encodeDocument("a b c", " b", ids, prompt), "");
  EXPECT_EQ(Ids(ids.begin(), ids.begin() + prompt), encode(encoder, "a b"));
  EXPECT_EQ(encoder.encodeDocument("abc", "", ids, prompt), "");
  EXPECT_EQ(prompt, 0u);
  EXPECT_EQ(encoder.encodeDocument("abc", "<act>", ids, prompt), "there is no '<act>' in 'abc'");
}

} // namespace
