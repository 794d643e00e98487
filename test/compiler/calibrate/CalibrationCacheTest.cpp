//===- CalibrationCacheTest.cpp - Results from compile to compile ------------===//
#include "compiler/calibrate/CalibrationCache.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace edgecc;

namespace {

/// What a pass may find out.
struct Findings {
  struct Layer {
    std::vector<float> numbers;
    int64_t count;

    void exchange(Archive &archive) { archive(numbers, count); }
  };
  int64_t tokens = 0;
  double error = 0;
  bool holds = false;
  Eigen::MatrixXf symmetric;
  Eigen::VectorXd sums;
  std::vector<Layer> layers;

  void exchange(Archive &archive) {
    archive(tokens, error, holds, sums, layers);
    archive.lowerTriangle(symmetric);
  }
};

Findings someFindings() {
  Findings some{7, 0.25, true, Eigen::MatrixXf::Zero(3, 3), Eigen::VectorXd::LinSpaced(4, 0, 1), {{{1, 2, 3}, 3}, {{}, -1}}};
  some.symmetric.triangularView<Eigen::Lower>().setConstant(5);
  return some;
}

class CalibrationCacheTest : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("edgecc-cache", folder));
    ASSERT_FALSE(llvm::sys::fs::setPermissions(folder, llvm::sys::fs::perms::all_all));
  }
  void TearDown() override {
    (void)llvm::sys::fs::setPermissions(folder, llvm::sys::fs::perms::all_all);
    (void)llvm::sys::fs::remove_directories(folder);
  }

  CalibrationCache open(uint64_t most = 1 << 30) {
    auto cache = CalibrationCache::open(folder, most, [&](const llvm::Twine &what) { warnings.push_back(what.str()); });
    if (cache)
      return std::move(*cache);
    ADD_FAILURE() << llvm::toString(cache.takeError());
    std::abort();
  }

  static void keep(CalibrationCache &cache, llvm::StringRef key, Findings findings) {
    Archive archive;
    archive(findings);
    cache.keep(key, archive);
  }

  /// Nothing, or the one thing that these tests keep.
  static bool finds(CalibrationCache &cache, llvm::StringRef key) {
    auto found = cache.find(key);
    if (!found)
      return false;
    Findings findings, wanted = someFindings();
    Archive archive(found->parts);
    archive(findings);
    EXPECT_TRUE(archive.isWhole());
    EXPECT_EQ(findings.tokens, wanted.tokens);
    EXPECT_EQ(findings.error, wanted.error);
    EXPECT_EQ(findings.holds, wanted.holds);
    EXPECT_EQ(findings.symmetric, wanted.symmetric);
    EXPECT_EQ(findings.sums, wanted.sums);
    EXPECT_EQ(findings.layers.size(), 2u);
    EXPECT_EQ(findings.layers[0].numbers, wanted.layers[0].numbers);
    EXPECT_EQ(findings.layers[1].count, -1);
    return true;
  }

  static std::string contentsOf(const std::string &path) {
    auto file = llvm::MemoryBuffer::getFile(path);
    return file ? (*file)->getBuffer().str() : "";
  }
  static void write(const std::string &path, llvm::StringRef contents) {
    std::error_code code;
    llvm::raw_fd_ostream(path, code) << contents;
    EXPECT_FALSE(code);
  }

  llvm::SmallString<128> folder;
  std::vector<std::string> warnings;
};

TEST_F(CalibrationCacheTest, GivesWhatWasKept) {
  CalibrationCache first = open();
  EXPECT_FALSE(finds(first, "a"));
  keep(first, "a", someFindings());
  EXPECT_EQ(first.use().added, 1u);
  CalibrationCache second = open();
  EXPECT_TRUE(finds(second, "a"));
  EXPECT_FALSE(finds(second, "b"));
  EXPECT_EQ(second.use().taken, 1u);
  EXPECT_EQ(second.use().takenBytes, first.use().addedBytes);
  EXPECT_TRUE(warnings.empty());
}

TEST_F(CalibrationCacheTest, AnotherListOfVariablesIsNoticed) {
  Findings findings = someFindings();
  Archive archive;
  archive(findings.tokens, findings.sums);
  int64_t number;
  double real;
  std::vector<float> floats;
  std::vector<std::vector<double>> lists;
  Eigen::MatrixXf matrix;
  for (bool isWhole :
       {[&](Archive reading) { return reading(number), reading.isWhole(); }(Archive(archive.parts())),
        [&](Archive reading) { return reading(number, floats), reading.isWhole(); }(Archive(archive.parts())),
        [&](Archive reading) { return reading(number, lists), reading.isWhole(); }(Archive(archive.parts())),
        [&](Archive reading) { return reading(number, matrix), reading.isWhole(); }(Archive(archive.parts())),
        [&](Archive reading) { return reading(number, findings.sums, real), reading.isWhole(); }(Archive(archive.parts()))})
    EXPECT_FALSE(isWhole);
}

TEST_F(CalibrationCacheTest, DamageIsAWarningAndAMiss) {
  CalibrationCache cache = open();
  keep(cache, "a", someFindings());
  const std::string path = cache.pathOf("a"), sound = contentsOf(path);
  size_t unnoticed = 0;
  for (size_t i = 0; i < sound.size(); ++i) {
    std::string damaged = sound;
    damaged[i] = char(damaged[i] ^ 0x41);
    write(path, damaged);
    unnoticed += finds(cache, "a"); // padding, at most: what is found is what was kept
  }
  EXPECT_LT(unnoticed, sound.size() / 4);
  for (size_t length = 0; length < sound.size(); ++length) {
    write(path, llvm::StringRef(sound).take_front(length));
    EXPECT_FALSE(finds(cache, "a")) << length;
  }
  ASSERT_FALSE(warnings.empty());
  EXPECT_EQ(warnings.back(), path + ": it is damaged; it is not used, and made anew");
  keep(cache, "a", someFindings());
  EXPECT_TRUE(finds(cache, "a"));
}

TEST_F(CalibrationCacheTest, ARenamedResultIsNone) {
  CalibrationCache cache = open();
  keep(cache, "a", someFindings());
  ASSERT_FALSE(llvm::sys::fs::rename(cache.pathOf("a"), cache.pathOf("b")));
  EXPECT_FALSE(finds(cache, "b"));
  EXPECT_EQ(warnings.back(), cache.pathOf("b") + ": it is the result of something else; it is not used, and made anew");
}

TEST_F(CalibrationCacheTest, AFolderThatCannotBeWrittenIsStillRead) {
  CalibrationCache cache = open();
  keep(cache, "a", someFindings());
  using llvm::sys::fs::perms;
  ASSERT_FALSE(llvm::sys::fs::setPermissions(folder, perms::all_read | perms::all_exe));
  bool isRoot = geteuid() == 0; // who may write everywhere
  if (isRoot) {
    ASSERT_EQ(seteuid(65534), 0);
  }
  CalibrationCache reader = open();
  EXPECT_TRUE(finds(reader, "a"));
  keep(reader, "b", someFindings());
  keep(reader, "c", someFindings());
  reader.trim();
  if (isRoot) {
    ASSERT_EQ(seteuid(0), 0);
  }
  EXPECT_FALSE(finds(reader, "b"));
  ASSERT_EQ(warnings.size(), 1u) << "one sentence, not one for each result";
  EXPECT_NE(warnings[0].find("no result of this compile is kept from here on"), std::string::npos) << warnings[0];
}

TEST_F(CalibrationCacheTest, NoFolder) {
  std::string file = (folder + "/file").str();
  write(file, "x");
  auto cache = CalibrationCache::open(file, 1, [](const llvm::Twine &) {});
  EXPECT_EQ(llvm::toString(cache.takeError()),
            "--calibration-cache=" + file + " is no folder and cannot become one: there is a file of that name");
}

TEST_F(CalibrationCacheTest, StaysWithinItsBytes) {
  CalibrationCache cache = open();
  keep(cache, "a", someFindings());
  uint64_t bytes = cache.use().addedBytes;
  for (llvm::StringRef key : {"b", "c"}) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20)); // by the time of their last use
    keep(cache, key, someFindings());
  }
  CalibrationCache small = open(2 * bytes + bytes / 2);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_TRUE(finds(small, "a"));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  keep(small, "d", someFindings());
  small.trim();
  EXPECT_TRUE(finds(small, "a")) << "used later than the others";
  EXPECT_FALSE(finds(small, "b"));
  EXPECT_FALSE(finds(small, "c"));
  EXPECT_TRUE(finds(small, "d"));
  EXPECT_TRUE(warnings.empty());
  CalibrationCache none = open(16);
  keep(none, "e", someFindings());
  EXPECT_FALSE(finds(none, "e"));
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("is not kept, 16 are allowed (--calibration-cache-size)"), std::string::npos) << warnings[0];
}

TEST_F(CalibrationCacheTest, TwoWritersAndAReader) {
  std::vector<CalibrationCache> caches;
  for (int i = 0; i < 2; ++i)
    caches.push_back(open());
  pid_t writer = fork();
  if (writer == 0) {
    for (int i = 0; i < 300; ++i)
      keep(caches[0], "a", someFindings());
    _exit(0);
  }
  for (int i = 0; i < 300; ++i) {
    keep(caches[1], "a", someFindings());
    EXPECT_TRUE(finds(caches[1], "a"));
  }
  int status = -1;
  waitpid(writer, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(finds(caches[1], "a"));
  EXPECT_TRUE(warnings.empty()) << warnings.front();
  // Nothing is left of what was not finished.
  std::error_code code;
  size_t files = 0;
  for (llvm::sys::fs::directory_iterator it(folder, code), end; it != end && !code; it.increment(code))
    ++files;
  EXPECT_EQ(files, 1u);
}

} // namespace
