#include "runtime/text/Speculation.h"
#include "runtime/text/chat/Stops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <map>

using namespace edgecc::text;

namespace {

TEST(Sampler, GreedyTakesTheLikeliest) {
  Sampler sampler({});
  std::vector<float> logits = {1, 5, NAN, 2};
  EXPECT_EQ(sampler.sample(logits, std::vector<int64_t>()), 1);
}

TEST(Sampler, RespectsTopKTopPAndShares) {
  for (bool useTopK : {true, false}) {
    SamplingOptions options;
    options.temperature = 1;
    options.seed = 3;
    options.topK = useTopK ? 2 : 0;
    options.topP = useTopK ? 1.0f : 0.9f;
    Sampler sampler(options);
    int counts[4] = {};
    for (int i = 0; i < 10000; ++i) {
      std::vector<float> logits = {std::log(0.6f), std::log(0.32f), std::log(0.05f), std::log(0.03f)};
      ++counts[sampler.sample(logits, std::vector<int64_t>())];
    }
    EXPECT_EQ(counts[2] + counts[3], 0);
    EXPECT_NEAR(counts[0] / 10000.0, 0.6 / 0.92, 0.02);
  }
}

TEST(Sampler, RepetitionIsPenalized) {
  SamplingOptions options;
  options.repetitionPenalty = 2;
  Sampler sampler(options);
  std::vector<float> logits = {3, 2, -1};
  EXPECT_EQ(sampler.sample(logits, std::vector<int64_t>{0, 0, 2, 77, -1}), 1);
  EXPECT_EQ(logits, (std::vector<float>{1.5f, 2, -2}));
}

TEST(Sampler, PresenceAndFrequencyCountWhatWasGenerated) {
  SamplingOptions options;
  options.presencePenalty = 1;
  options.frequencyPenalty = 0.5f;
  Sampler sampler(options);
  std::vector<float> logits = {3, 3, 3};
  // 0 is in the prompt only, 1 was generated once, 2 twice.
  sampler.sample(logits, std::vector<int64_t>{0, 1, 2, 2}, 1);
  EXPECT_EQ(logits, (std::vector<float>{3, 1.5f, 1}));
}

TEST(Sampler, BiasForbidsATokenAndMinPDropsTheUnlikely) {
  SamplingOptions options;
  options.temperature = 1;
  options.minP = 0.4f;
  Sampler sampler(options);
  sampler.addBias({0, -INFINITY});
  for (int i = 0; i < 200; ++i) {
    std::vector<float> logits = {9, std::log(0.6f), std::log(0.3f), std::log(0.1f)};
    const int64_t id = sampler.sample(logits, std::vector<int64_t>());
    EXPECT_TRUE(id == 1 || id == 2) << id;
  }
}

TEST(Sampler, TopPOfALongTailKeepsTheSmallestSet) {
  SamplingOptions options;
  options.temperature = 1;
  options.topP = 0.5f;
  Sampler sampler(options);
  std::vector<float> logits(5000, 0.0f); // equally likely: half of them, the first ones
  EXPECT_EQ(sampler.choice(logits, std::vector<int64_t>()).tokens.size(), 2500u);
}

std::string streamed(Stops &stops, const std::vector<std::string> &pieces, bool &stopped) {
  Buffer<char> out;
  stopped = false;
  for (const std::string &piece : pieces)
    if (!stopped)
      stopped = stops.feed(piece, out);
  if (!stopped)
    stops.finish(out);
  return std::string(view(out));
}

TEST(Stops, HoldsBackOnlyWhatCanStillBecomeAStop) {
  Stops stops;
  stops.add("END.");
  stops.add("\n\n");
  Buffer<char> out;
  EXPECT_FALSE(stops.feed("a E", out));
  EXPECT_EQ(view(out), "a ");
  EXPECT_FALSE(stops.feed("EN", out));
  EXPECT_EQ(view(out), "a E");
  EXPECT_FALSE(stops.feed("D\n", out));
  EXPECT_EQ(view(out), "a EEND");
  EXPECT_TRUE(stops.feed("\nmore", out));
  EXPECT_EQ(view(out), "a EEND");
}

TEST(Stops, EveryCutGivesTheSameText) {
  const std::string text = "one ababac two ababab END. three";
  for (size_t first = 0; first <= text.size(); ++first)
    for (size_t second = first; second <= text.size(); ++second) {
      Stops stops;
      stops.add("ababad");
      stops.add("END.");
      stops.add("ND");
      bool stopped;
      EXPECT_EQ(streamed(stops, {text.substr(0, first), text.substr(first, second - first), text.substr(second)}, stopped),
                "one ababac two ababab ");
      EXPECT_TRUE(stopped);
    }
}

/// Says of the next token what depends on the last one; drafts are right now and then.
class Parrot : public DraftingModel {
public:
  std::vector<int64_t> seen; // by the whole model, or drafted

  static std::vector<float> whole(int64_t last) { return {float(last), 1.5f, float((last * 7) % 3), 0.5f}; }
  std::string draft(int64_t token, std::vector<float> &logits, float &confidence) override {
    if (seen.size() == room)
      return "full";
    seen.push_back(token);
    logits = whole(token);
    logits[size_t(token % 4)] += 1;
    confidence = token == 3 ? 0.1f : 0.9f;
    return "";
  }
  std::string verify(const std::vector<int64_t> &tokens, std::vector<std::vector<float>> &logits) override {
    EXPECT_TRUE(std::equal(tokens.rbegin(), tokens.rend(), seen.rbegin()));
    logits.clear();
    for (int64_t token : tokens)
      logits.push_back(whole(token));
    batches.push_back(tokens.size());
    return "";
  }
  std::string forget(size_t positions) override {
    seen.resize(seen.size() - positions);
    return "";
  }
  size_t room = SIZE_MAX;
  std::vector<size_t> batches;
};

TEST(Speculation, GreedyTextIsTheWholeModels) {
  Sampler sampler({});
  Speculation speculation(sampler, 4, 0);
  Parrot model;
  std::vector<int64_t> history = {2}, expected = {2};
  while (history.size() < 200) {
    ASSERT_EQ(speculation.next(model, history), "");
    // All but the last token have been seen, and nothing else.
    ASSERT_EQ(model.seen, std::vector<int64_t>(history.begin(), history.end() - 1));
  }
  while (expected.size() < history.size()) {
    std::vector<float> logits = Parrot::whole(expected.back());
    expected.push_back(sampler.sample(logits, expected));
  }
  EXPECT_EQ(history, expected);
  EXPECT_GT(speculation.accepted, 0u);
  EXPECT_LT(speculation.accepted, speculation.drafted);
}

TEST(Speculation, SampledTextHasTheWholeModelsDistribution) {
  SamplingOptions options;
  options.temperature = 1;
  options.topK = 3;
  Sampler sampler(options), plain(options);
  std::map<std::vector<int64_t>, double> counts, expected;
  constexpr int kTexts = 40000;
  for (int i = 0; i < kTexts; ++i) {
    Speculation speculation(sampler, 3, 0);
    Parrot model;
    std::vector<int64_t> history = {1};
    while (history.size() < 4)
      ASSERT_EQ(speculation.next(model, history), "");
    history.resize(4);
    counts[history] += 1.0 / kTexts;
    history = {1};
    while (history.size() < 4) {
      std::vector<float> logits = Parrot::whole(history.back());
      history.push_back(plain.sample(logits, history));
    }
    expected[history] += 1.0 / kTexts;
  }
  for (const auto &[text, share] : expected)
    EXPECT_NEAR(counts[text], share, 0.012);
  EXPECT_LE(counts.size(), expected.size() + 2);
}

TEST(Speculation, StopsDraftingWhenUnsureOrFull) {
  Sampler sampler({});
  Speculation speculation(sampler, 4, 0.5f);
  Parrot model;
  std::vector<int64_t> history = {3};
  ASSERT_EQ(speculation.next(model, history), "");
  EXPECT_EQ(model.batches.back(), 1u); // 3 is not sure
  history = {0};
  model.seen.clear();
  model.room = 2;
  ASSERT_EQ(speculation.next(model, history), "");
  EXPECT_EQ(model.batches.back(), 2u);
  model.room = model.seen.size();
  EXPECT_EQ(speculation.next(model, history), "full");
}

} // namespace
