// edgecc-run and edgecc-dump from the outside: what they print, write and refuse.
#include "runtime/arrays/Npy.h"
#include "test/runtime/Artifact.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/wait.h>

using namespace edgecc;
using namespace edgecc::test;
using arrays::Array;

namespace {

struct Result {
  int status;
  std::string text;
};

Result shell(const std::string &command) {
  Result result = {-1, ""};
  FILE *pipe = popen((command + " 2>&1").c_str(), "r");
  char buffer[4096];
  while (size_t size = fread(buffer, 1, sizeof(buffer), pipe))
    result.text.append(buffer, size);
  result.status = WEXITSTATUS(pclose(pipe));
  return result;
}

bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }
#define EXPECT_CONTAINS(text, part) EXPECT_TRUE(contains(text, part)) << text

class CliTest : public testing::Test {
protected:
  void SetUp() override {
    char name[] = "edgecc-cli-XXXXXX";
    directory = mkdtemp(name);
    save("small.edge", write(smallArtifact()));
    x.shape = {2, 3};
    x.bytes.resize(24);
    const float values[6] = {0, 1, 2, 3, 4, 5};
    memcpy(x.bytes.data(), values, 24);
  }
  void TearDown() override { std::filesystem::remove_all(directory); }

  void save(const std::string &name, const std::vector<uint8_t> &bytes) {
    std::ofstream(path(name), std::ios::binary)
        .write(reinterpret_cast<const char *>(bytes.data()), std::streamsize(bytes.size()));
  }
  std::string path(const std::string &name) const { return directory + "/" + name; }
  Result run(const std::string &arguments) const { return shell(EDGECC_RUN " " + path("small.edge") + " " + arguments); }
  void expectSum(const Array &y) const {
    ASSERT_EQ(y.shape, (std::vector<int64_t>{2, 3}));
    const float expected[6] = {10, 21, 32, 13, 24, 35};
    EXPECT_EQ(memcmp(y.bytes.data(), expected, 24), 0);
  }

  std::string directory;
  Array x;
};

TEST_F(CliTest, RunsOnNpy) {
  ASSERT_EQ(arrays::writeNpy(path("x.npy"), x), "");
  Result result = run("--input x=" + path("x.npy") + " --output-dir " + path("out") + " --threads 2 --repeat 3");
  ASSERT_EQ(result.status, 0) << result.text;
  EXPECT_CONTAINS(result.text, "y: f32 [2, 3]");
  EXPECT_CONTAINS(result.text, "median of 3");
  Array y;
  ASSERT_EQ(arrays::readNpy(path("out/y.npy"), y), "");
  expectSum(y);
}

TEST_F(CliTest, RunsOnNpz) {
  ASSERT_EQ(arrays::writeNpz(path("x.npz"), {{"x", x}}), "");
  Result result = run("--inputs " + path("x.npz") + " --outputs " + path("y.npz"));
  ASSERT_EQ(result.status, 0) << result.text;
  std::map<std::string, Array> outputs;
  ASSERT_EQ(arrays::readNpz(path("y.npz"), outputs), "");
  expectSum(outputs["y"]);
}

TEST_F(CliTest, RefusesWithASentence) {
  EXPECT_CONTAINS(run("").text, "input 'x' has not been set");
  EXPECT_CONTAINS(run("--input x").text, "write it as name=file.npy");
  EXPECT_CONTAINS(run("--input x=none.npy").text, "none.npy: cannot be opened");
  EXPECT_CONTAINS(run("--entry none").text, "no entry 'none'");
  EXPECT_CONTAINS(run("--memory-limit 100").text, "but 100 B are allowed");
  EXPECT_CONTAINS(run("--prompt hello").text, "needs --tokenizer");
  EXPECT_CONTAINS(run("--entry step --ids 300").text, "token 300 is not in the model's vocabulary of 300");
  EXPECT_EQ(run("--entry none").status, 1);
  save("bad.npy", {1, 2, 3});
  EXPECT_CONTAINS(run("--input x=" + path("bad.npy")).text, "bad.npy is not a .npy array");
}

// The stand-in predicts the sum of all tokens so far, modulo 300.
TEST_F(CliTest, ContinuesIdsTheSameForEveryChunking) {
  for (const char *chunk : {"", " --prefill-chunk 1", " --prefill-chunk 2"}) {
    Result result = run("--entry step --ids 1,2,3 --max-tokens 4 --print-ids" + std::string(chunk));
    EXPECT_EQ(result.status, 0);
    EXPECT_CONTAINS(result.text, "6,12,24,48\n");
    EXPECT_CONTAINS(result.text, "prompt: 3 tokens, first token after");
  }
}

TEST_F(CliTest, StopsAtTheEndTokenAndAtTheEndOfTheContext) {
  EXPECT_CONTAINS(run("--entry step --ids 299 --print-ids").text, "\nprompt: 1 tokens"); // 299 is eos_token_id
  EXPECT_CONTAINS(run("--entry step --ids 299 --print-ids --ignore-eos --max-tokens 2").text, "299,298\n");
  Result full = run("--entry step --ids 1,2,3 --context 4 --print-ids");
  EXPECT_EQ(full.status, 0);
  EXPECT_CONTAINS(full.text, "6,12\n");
  EXPECT_CONTAINS(full.text, "do not fit in the context of 4");
}

TEST_F(CliTest, SamplingFollowsItsSeed) {
  const std::string arguments = "--entry step --ids 7 --print-ids --temperature 2 --top-k 50 --max-tokens 8 --seed ";
  const std::string one = run(arguments + "1").text, again = run(arguments + "1").text, other = run(arguments + "2").text;
  EXPECT_EQ(one.substr(0, one.find('\n')), again.substr(0, again.find('\n')));
  EXPECT_NE(one.substr(0, one.find('\n')), other.substr(0, other.find('\n')));
}

TEST_F(CliTest, ListsAndDumps) {
  Result list = run("--list");
  EXPECT_CONTAINS(list.text, "input  attention_mask: i64 [1, past + sequence]");
  Result dump = shell(EDGECC_DUMP " " + path("small.edge"));
  EXPECT_EQ(dump.status, 0);
  EXPECT_CONTAINS(dump.text, "per position 8 bytes");
  EXPECT_CONTAINS(dump.text, "at context 64 (states");
  EXPECT_CONTAINS(dump.text, "advances by sequence");
  Result json = shell(EDGECC_DUMP " --json " + path("small.edge"));
  EXPECT_CONTAINS(json.text, "\"state_bytes_per_position\": 8");
  EXPECT_CONTAINS(json.text, "\"vocabulary_size\": \"300\"");
  std::vector<uint8_t> cut = write(smallArtifact());
  cut.resize(cut.size() - 1);
  save("cut.edge", cut);
  Result refused = shell(EDGECC_DUMP " " + path("cut.edge"));
  EXPECT_EQ(refused.status, 1);
  EXPECT_CONTAINS(refused.text, "a download or copy was cut");
}

TEST_F(CliTest, DamagedArraysAreRefused) {
  ASSERT_EQ(arrays::writeNpy(path("x.npy"), x), "");
  ASSERT_EQ(arrays::writeNpz(path("x.npz"), {{"x", x}, {"second", x}}), "");
  for (const char *name : {"x.npy", "x.npz"}) {
    std::ifstream file(path(name), std::ios::binary);
    const std::vector<uint8_t> bytes(std::istreambuf_iterator<char>(file), {});
    std::map<std::string, Array> arrays;
    Array array;
    for (size_t size = 0; size < bytes.size(); ++size) {
      save("cut", std::vector<uint8_t>(bytes.begin(), bytes.begin() + long(size)));
      EXPECT_NE(arrays::readNpy(path("cut"), array), "");
      EXPECT_NE(arrays::readNpz(path("cut"), arrays), "");
    }
    for (size_t i = 0; i < bytes.size(); ++i) {
      std::vector<uint8_t> flipped = bytes;
      flipped[i] ^= 0xff;
      save("flipped", flipped);
      arrays::readNpy(path("flipped"), array); // refused or not; the sanitizers watch
      arrays::readNpz(path("flipped"), arrays);
    }
  }
}

} // namespace
