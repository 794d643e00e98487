#include "SmallTokenizers.h"
#include "compiler/text/tokenizer/Tokenizers.h"
#include "runtime/text/tokenizer/Decoder.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <vector>

using namespace edgecc::text;
using namespace edgecc::test;
using Ids = std::vector<int32_t>;

namespace {

/// A compiled tokenizer with its memory.
class Compiled {
public:
  explicit Compiled(std::string_view source, const std::string &pattern = "") {
    std::string error;
    EXPECT_TRUE(compileTokenizerBytes(source, {pattern}, section, error)) << error;
    reopen();
  }
  const char *reopen() {
    scratch.cacheOwner = nullptr;
    memory.assign(section.size() / 8 + 1, 0);
    memcpy(memory.data(), section.data(), section.size());
    return tokenizer.open(memory.data(), section.size());
  }
  Ids encode(std::string_view text, const Trust &trust = Trust::all(), bool addSpecial = false) {
    Buffer<int32_t> ids;
    EXPECT_TRUE(tokenizer.encode(text, trust, {addSpecial}, scratch, ids));
    return Ids(ids.begin(), ids.end());
  }
  std::string decode(const Ids &ids, bool skipSpecial = false) {
    Decoder decoder(tokenizer, skipSpecial);
    Buffer<char> text;
    for (int32_t id : ids)
      decoder.feed(uint32_t(id), text);
    decoder.finish(text);
    return std::string(text.begin(), text.end());
  }
  std::string section;
  std::vector<uint64_t> memory;
  CompiledTokenizer tokenizer;
  Scratch scratch;
};

std::string refusal(std::string_view source) {
  std::string section, error;
  EXPECT_FALSE(compileTokenizerBytes(source, {}, section, error));
  return error;
}

TEST(BytePairs, MergesLowestRankFirst) {
  Compiled t(kBytePairs);
  EXPECT_EQ(t.encode("hello hello"), (Ids{8, 9}));
  EXPECT_EQ(t.encode("hellhe"), (Ids{7, 5}));
  EXPECT_EQ(t.encode("hello", Trust::all(), true), (Ids{14, 8}));
  EXPECT_EQ(t.encode(""), (Ids{}));
}

TEST(BytePairs, AddedTokensTakeBlanksAndNeedWords) {
  Compiled t(kBytePairs);
  EXPECT_EQ(t.encode("h  <b>  e"), (Ids{0, 12, 1}));
  EXPECT_EQ(t.encode("ole"), (Ids{13}));
  EXPECT_EQ(t.encode("hole"), (Ids{0, 3, 2, 1}));
}

TEST(Trust, UserTextHasNoSpecialTokens) {
  Compiled bytes(kBytePairs), characters(kCharacters), unigram(kUnigram), words(kWordPiece);
  EXPECT_EQ(bytes.encode("h<|end|>e"), (Ids{0, 11, 1}));
  EXPECT_EQ(bytes.encode("h<|end|>e", Trust::none()), (Ids{0, 1, 1}));
  EXPECT_EQ(characters.encode("<s>"), (Ids{1}));
  EXPECT_EQ(characters.encode("<s>", Trust::none()), (Ids{8, 7})); // the merge that makes it is skipped
  EXPECT_EQ(unigram.encode("</s>"), (Ids{1}));
  EXPECT_EQ(unigram.encode("</s>", Trust::none()), (Ids{2, 7, 8, 9, 10}));
  EXPECT_EQ(words.encode("a [MASK]"), (Ids{6, 1}));
  EXPECT_EQ(words.encode("a [MASK]", Trust::none()), (Ids{6, 0}));
}

TEST(Trust, EveryByteOfASpecialTokenMustBeTrusted) {
  Compiled t(kBytePairs);
  const std::string_view text = "<|end|><|end|>";
  for (size_t begin = 0; begin <= text.size(); ++begin)
    for (size_t end = begin; end <= text.size(); ++end) {
      const TrustRange range = {begin, end};
      const Ids ids = t.encode(text, Trust(&range, 1));
      const auto found = std::count(ids.begin(), ids.end(), 11);
      EXPECT_EQ(found, (begin == 0 && end >= 7) + (begin <= 7 && end == 14)) << begin << " " << end;
    }
  const TrustRange parts[] = {{0, 3}, {3, 7}};
  EXPECT_EQ(t.encode("<|end|>", Trust(parts, 2)), (Ids{11}));
}

TEST(Characters, FallBackToBytes) {
  Compiled t(kCharacters);
  EXPECT_EQ(t.encode("a\xc3\xa9"), (Ids{10, 2, 3}));
  EXPECT_EQ(t.encode("zz"), (Ids{0})); // fused
  EXPECT_EQ(t.decode({11, 2, 3, 10}), "a\xc3\xa9"
                                      "a");
  EXPECT_EQ(t.decode({11, 2, 10}), "a\xef\xbf\xbd"
                                   "a");
}

TEST(Unigram, TakesTheLikeliestPath) {
  Compiled t(kUnigram);
  EXPECT_EQ(t.encode("ab"), (Ids{2, 5}));
  EXPECT_EQ(t.encode("a"), (Ids{6}));
  EXPECT_EQ(t.encode("axxb"), (Ids{6, 0, 4}));
  EXPECT_EQ(t.decode({6, 4, 6}), "ab a");
}

TEST(WordPiece, TakesTheLongestPart) {
  Compiled t(kWordPiece);
  EXPECT_EQ(t.encode("playing plays"), (Ids{2, 3, 2, 4}));
  EXPECT_EQ(t.encode("playx ab"), (Ids{0, 6, 7}));
  EXPECT_EQ(t.encode("abbbbbbbb"), (Ids{0})); // nine characters
  EXPECT_EQ(t.decode({2, 3, 5}), "playing.");
}

TEST(Decoder, WritesWholeCharactersOnly) {
  Compiled t(kBytePairs);
  Decoder decoder(t.tokenizer);
  Buffer<char> text;
  decoder.feed(10, text);
  EXPECT_TRUE(text.empty());
  decoder.feed(0, text);
  EXPECT_EQ(std::string(text.begin(), text.end()), "\xef\xbf\xbdh");
  decoder.feed(10, text);
  decoder.finish(text);
  EXPECT_EQ(std::string(text.begin(), text.end()), "\xef\xbf\xbdh\xef\xbf\xbd");
}

TEST(Tokenizer, NamesItsTokens) {
  Compiled t(kBytePairs);
  EXPECT_EQ(t.tokenizer.idOf(" hello"), 9);
  EXPECT_EQ(t.tokenizer.idOf("<|end|>"), 11);
  EXPECT_EQ(t.tokenizer.idOf("nothing"), -1);
  EXPECT_EQ(t.tokenizer.bytesOf(9), " hello");
  EXPECT_EQ(t.tokenizer.bytesOf(99), "");
  EXPECT_TRUE(t.tokenizer.isSpecial(11));
  EXPECT_FALSE(t.tokenizer.isSpecial(12));
}

// A quadratic algorithm takes minutes here.
TEST(Tokenizer, IsLinearOnHostileText) {
  for (const char *source : kSmallTokenizers) {
    Compiled t(source);
    for (const char *unit : {"h", "a", " ", "<", "(", "\xe2\x96\x81", "hello", "<s", "ab"}) {
      std::string text;
      while (text.size() < (1u << 20))
        text += unit;
      const auto start = std::chrono::steady_clock::now();
      t.decode(t.encode(text, Trust::none()));
      EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 5) << unit;
    }
  }
}

TEST(Verifier, CutSectionsAreRefused) {
  for (const char *source : kSmallTokenizers) {
    Compiled t(source);
    for (size_t size = 0; size < t.section.size(); size += 1 + size / 200)
      EXPECT_NE(t.tokenizer.open(t.memory.data(), size), nullptr) << size;
  }
}

// Under AddressSanitizer: whatever passes the verifier is read inside of its bounds.
TEST(Verifier, FlippedBytesAreRefusedOrHarmless) {
  for (const char *source : kSmallTokenizers) {
    Compiled t(source);
    const std::string whole = t.section;
    size_t refused = 0;
    for (size_t at = 0; at < whole.size(); ++at)
      for (const int flip : {0x01, 0x80, 0xFF}) {
        t.section = whole;
        t.section[at] = char(t.section[at] ^ flip);
        if (t.reopen()) {
          ++refused;
          continue;
        }
        Ids ids = t.encode("hello <s></s> \xc3\xa9 ab <b> hole [MASK] playing.");
        for (int32_t id = 0; id < 16; ++id)
          ids.push_back(id);
        t.decode(ids);
        for (int32_t id : ids)
          t.tokenizer.bytesOf(uint32_t(id));
      }
    EXPECT_GT(refused, 100u);
  }
}

TEST(Verifier, MappedPiecesAndPrefixesUseTheirOwnMemory) {
  // No compiler writes both, but a damaged section has them: "##" must not overwrite the word that it stands before.
  Compiled t(kWordPiece);
  const Ids expected = t.encode("playings aab playingings");
  uint32_t flags;
  memcpy(&flags, t.section.data() + offsetof(TokenizerHeader, flags), sizeof(flags));
  flags |= kMappedBytes;
  memcpy(t.section.data() + offsetof(TokenizerHeader, flags), &flags, sizeof(flags));
  ASSERT_EQ(t.reopen(), nullptr);
  EXPECT_EQ(t.encode("playings aab playingings"), expected);
}

TEST(BytePairs, CutsLongWordsWhereNoTokenGoesOn) {
  Compiled t(kBytePairs);
  std::string text;
  Ids expected;
  for (int i = 0; i < 12; ++i) { // "oh" is in no token, and 'x' has no token, so it is dropped: "hell" and "o" meet again
    text += "hellxohe";
    expected.insert(expected.end(), {8, 5});
  }
  EXPECT_EQ(t.encode(text), expected);
}

TEST(Sources, UnknownComponentsAreNamedWithTheirPath) {
  const auto with = [](const std::string &part) {
    return "{" + part + R"(, "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})";
  };
  EXPECT_EQ(refusal(with(R"("pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits"}, {"type": "Foo"}]})")),
            "/pre_tokenizer/pretokenizers/1: type \"Foo\" is not supported");
  EXPECT_EQ(refusal(with(R"("decoder": {"type": "Sequence", "decoders": [{"type": "Foo"}]})")),
            "/decoder/decoders/0: type \"Foo\" is not supported");
  EXPECT_EQ(refusal(with(R"("post_processor": {"type": "Foo"})")), "/post_processor: type \"Foo\" is not supported");
  EXPECT_EQ(refusal(with(R"("pre_tokenizer": {"type": "Split", "pattern": {"String": "a"}, "behavior": "Foo"})")),
            "/pre_tokenizer/behavior: \"Foo\" is no behavior of Split");
  EXPECT_EQ(refusal(R"({"model": {"type": "Foo"}})"), "/model: type \"Foo\" is not supported");
  EXPECT_EQ(refusal(R"({"model": {"type": "BPE", "dropout": 0.1, "vocab": {}, "merges": []}})"),
            "/model/dropout: random merges are not supported; set it to null");
  EXPECT_EQ(refusal(R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}})"),
            "/model/merges/0: the token \"ab\" is not in the vocabulary");
  EXPECT_EQ(refusal(R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}})"),
            "/model/vocab: the id 0 has two tokens");
  EXPECT_EQ(refusal("{"), "is no valid JSON");
  EXPECT_EQ(refusal(""), "is empty");
  EXPECT_EQ(refusal("IQ== 0\n"),
            "holds tiktoken ranks, which do not say how text is split: name its pattern (--pattern llama3, llama4, qwen, gpt2, "
            "cl100k, o200k, or a regular expression)");
}

TEST(Sources, RandomBytesAreRefused) {
  std::mt19937 random(5);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes = i % 4 == 0 ? "GGUF\x03" : i % 4 == 1 ? "\x0a" : i % 4 == 2 ? "{\"model\":" : "";
    for (size_t n = random() % 200; n > 0; --n)
      bytes += char(random());
    std::string section, error;
    if (!compileTokenizerBytes(bytes, {}, section, error)) {
      EXPECT_NE(error, "");
    }
  }
}

TEST(Sources, TiktokenRanksMergeByRank) {
  // a b c ab bc abc: first ab, then bc, then abc
  Compiled t("YQ== 0\nYg== 1\nYw== 2\nYWI= 3\nYmM= 4\nYWJj 5\n", "\\w+|\\W+");
  EXPECT_EQ(t.encode("abcbc"), (Ids{5, 4}));
  EXPECT_EQ(t.encode("abc"), (Ids{5}));
}

} // namespace
