//===- Language.cpp - Prefill, decode, first token, memory -------------------===//
//
// One round measures everything once, thread counts and kinds in turn, so that what else happens on the machine hits all of them.
// The memory's speed is measured immediately before each decode sample: their ratio is what can be compared between days.
//
//===----------------------------------------------------------------------===//
#include "runtime/text/LanguageModel.h"
#include "tools/edgecc-bench/Bench.h"

#include <tuple>

namespace edgecc::tools {
namespace {

struct Row {
  const char *what;
  int64_t tokens; ///< of the prompt, or in the context
  unsigned threads;
  Samples seconds, weightsRate, share;
};

class LanguageBench {
public:
  LanguageBench(const BenchOptions &options, Machine &machine, Results &results)
      : options(options), machine(machine), results(results) {}
  std::string run();

private:
  std::string plan();
  std::string firstToken(unsigned threads);
  std::string round(unsigned threads, bool isFirst);
  std::string prefill(text::LanguageModel &language, Session &session, Row &row, bool warmUp);
  std::string decode(text::LanguageModel &language, Session &session, Row &row);
  std::string fillTo(text::LanguageModel &language, Session &session, int64_t position);
  std::string rewind(Session &session, int64_t position);
  std::string openSession(unsigned threads, Session &session) const;
  Row &row(const char *what, int64_t tokens, unsigned threads);

  const BenchOptions &options;
  Machine &machine;
  Results &results;
  Model model;
  std::vector<int64_t> prefills, contexts;
  std::vector<uint8_t> filled; ///< a session that holds the longest context
  std::vector<float> logits;
  std::vector<Row> rows;
  std::map<unsigned, Samples> firstTokens;
  int64_t capacity = 0;
  uint64_t weightsPerToken = 0;
};

Row &LanguageBench::row(const char *what, int64_t tokens, unsigned threads) {
  for (Row &row : rows)
    if (std::string(row.what) == what && row.tokens == tokens && row.threads == threads)
      return row;
  rows.push_back({what, tokens, threads, {}, {}, {}});
  return rows.back();
}

std::string LanguageBench::openSession(unsigned threads, Session &session) const {
  edgecc_session_options sessionOptions;
  edgecc_session_options_init(&sessionOptions);
  sessionOptions.threads = threads;
  sessionOptions.context = capacity;
  return session.open(model, &sessionOptions).message();
}

std::string LanguageBench::rewind(Session &session, int64_t position) {
  return Status::of([&](edgecc_error *error) {
    return edgecc_session_set_position(session.handle(), position, error);
  }).message();
}

// What of the lists the artifact's context has room for.
std::string LanguageBench::plan() {
  if (Status status = model.open(options.path.c_str(), &options.model); !status)
    return status.message();
  int64_t longest = 0;
  edgecc_symbol_info symbol;
  for (size_t i = 0; edgecc_model_symbol(model.handle(), i, &symbol) == EDGECC_OK; ++i)
    if (symbol.role == EDGECC_CAPACITY)
      longest = symbol.max;
  const int64_t room = options.context ? options.context : longest;
  auto take = [&](const std::vector<int64_t> &wanted, const char *what, std::vector<int64_t> &taken) {
    for (int64_t tokens : wanted)
      if (tokens <= room)
        taken.push_back(tokens);
      else
        results.notes.push_back(std::string(what) + " " + std::to_string(tokens) + " left out: the context is " +
                                std::to_string(room));
    std::sort(taken.begin(), taken.end());
  };
  take(options.prefill, "prefill", prefills);
  take(options.decode, "decode", contexts);
  // Sessions are as long as what is measured, not as the model can be: the memory that is reported belongs to that.
  capacity = options.context;
  for (int64_t tokens : prefills)
    capacity = std::max(capacity, tokens);
  for (int64_t tokens : contexts)
    capacity = std::max(capacity, tokens);
  capacity = std::max<int64_t>(capacity, std::min<int64_t>(options.prompt, longest));
  return "";
}

// From nothing, as a user sees it: open, prompt, logits. The pages of the file are in the system's cache.
std::string LanguageBench::firstToken(unsigned threads) {
  Model fresh;
  Session session;
  std::vector<float> answer;
  const Clock::time_point start = Clock::now();
  if (Status status = fresh.open(options.path.c_str(), &options.model); !status)
    return status.message();
  edgecc_session_options sessionOptions;
  edgecc_session_options_init(&sessionOptions);
  sessionOptions.threads = threads;
  sessionOptions.context = capacity;
  if (Status status = session.open(fresh, &sessionOptions); !status)
    return status.message();
  text::LanguageModel language(fresh, session);
  if (std::string fault = language.find(""); !fault.empty())
    return fault;
  const std::vector<int64_t> prompt = someTokens(std::min<int64_t>(options.prompt, capacity), language.vocabulary());
  std::string fault = language.feed(prompt, 0, answer);
  firstTokens[threads].add(secondsSince(start));
  return fault;
}

std::string LanguageBench::prefill(text::LanguageModel &language, Session &session, Row &row, bool warmUp) {
  const std::vector<int64_t> tokens = someTokens(row.tokens, language.vocabulary());
  if (warmUp) {
    if (std::string fault = rewind(session, 0); !fault.empty())
      return fault;
    if (std::string fault = language.feed(tokens, 0, logits); !fault.empty())
      return fault;
  }
  if (std::string fault = rewind(session, 0); !fault.empty())
    return fault;
  const Clock::time_point start = Clock::now();
  std::string fault = language.feed(tokens, 0, logits);
  row.seconds.add(secondsSince(start));
  return fault;
}

std::string LanguageBench::fillTo(text::LanguageModel &language, Session &session, int64_t position) {
  const int64_t held = edgecc_session_position(session.handle());
  if (held > position)
    return rewind(session, position);
  return held == position ? "" : language.feed(someTokens(position - held, language.vocabulary()), 0, logits);
}

// The tokens before the context is full: so a context of 2048 can be measured in an artifact of 2048.
std::string LanguageBench::decode(text::LanguageModel &language, Session &session, Row &row) {
  const int64_t count = std::max<int64_t>(1, std::min<int64_t>(options.decodeTokens, row.tokens - 1)), begin = row.tokens - count;
  if (std::string fault = fillTo(language, session, begin); !fault.empty())
    return fault;
  const std::vector<int64_t> tokens = someTokens(count, language.vocabulary());
  const double limit = machine.read(row.threads);
  results.limits[row.threads].read.add(limit);
  // The first token finds the caches full of the limit's buffer.
  if (std::string fault = language.feed({tokens[0]}, 0, logits); !fault.empty())
    return fault;
  if (std::string fault = rewind(session, begin); !fault.empty())
    return fault;
  const Clock::time_point start = Clock::now();
  for (int64_t token : tokens)
    if (std::string fault = language.feed({token}, 0, logits); !fault.empty())
      return fault;
  const double seconds = secondsSince(start) / double(count), rate = double(weightsPerToken) / seconds;
  row.seconds.add(seconds);
  row.weightsRate.add(rate);
  if (limit > 0)
    row.share.add(rate / limit);
  return "";
}

std::string LanguageBench::round(unsigned threads, bool isFirst) {
  if (std::string fault = firstToken(threads); !fault.empty())
    return fault;
  Session session;
  if (std::string fault = openSession(threads, session); !fault.empty())
    return fault;
  text::LanguageModel language(model, session);
  if (std::string fault = language.find(options.entry); !fault.empty())
    return fault;
  if (isFirst && rows.empty()) {
    // In a model that nobody has touched yet, one token shows which weights one token reads.
    if (std::string fault = language.feed({0}, 0, logits); !fault.empty())
      return fault;
    weightsPerToken = residentWeights(model.handle());
  }
  for (int64_t tokens : prefills)
    if (std::string fault = prefill(language, session, row("prefill", tokens, threads), isFirst); !fault.empty())
      return fault;
  if (std::string fault = rewind(session, 0); !fault.empty() || contexts.empty())
    return fault;
  if (filled.empty()) {
    if (std::string fault = fillTo(language, session, contexts.back() - 1); !fault.empty())
      return fault;
    // Everything a conversation touches has been touched, and the saved copy does not exist yet.
    results.memory["peak_resident_bytes"] = peakResident();
    filled.resize(edgecc_session_save_size(session.handle()));
    edgecc_session_save(session.handle(), filled.data(), filled.size(), nullptr);
  }
  Status restored = Status::of(
      [&](edgecc_error *error) { return edgecc_session_restore(session.handle(), filled.data(), filled.size(), error); });
  if (!restored)
    return restored.message();
  // Going back forgets: the longest context first.
  for (size_t i = contexts.size(); i-- > 0;)
    if (std::string fault = decode(language, session, row("decode", contexts[i], threads)); !fault.empty())
      return fault;
  // Last: it makes all weights resident, also those that nobody needs.
  edgecc_segment_info segment;
  for (size_t i = 0; edgecc_model_segment(model.handle(), i, &segment) == EDGECC_OK; ++i)
    if (segment.kind == EDGECC_WEIGHTS)
      results.limits[threads].mapped.add(readRate(static_cast<const uint8_t *>(segment.data), segment.length, threads));
  return "";
}

std::string LanguageBench::run() {
  const uint64_t before = peakResident();
  if (std::string fault = plan(); !fault.empty())
    return fault;
  for (unsigned i = 0; i < options.rounds; ++i)
    for (unsigned threads : options.threads)
      if (std::string fault = round(threads, i == 0); !fault.empty())
        return fault;
  edgecc_memory_info contract;
  edgecc_model_memory(model.handle(), capacity, &contract);
  results.memory["program_bytes"] = before;
  results.memory["contract_bytes"] = contract.total;
  results.memory["context"] = capacity;
  results.model["weights_per_token_bytes"] = weightsPerToken;
  for (auto &[threads, seconds] : firstTokens)
    results.rows.push_back({{"what", "first token"},
                            {"tokens", std::min<int64_t>(options.prompt, capacity)},
                            {"threads", threads},
                            {"seconds", seconds.json()},
                            {"spread", seconds.spread()}});
  std::sort(rows.begin(), rows.end(), [](const Row &a, const Row &b) {
    return std::make_tuple(*b.what, a.tokens, a.threads) < std::make_tuple(*a.what, b.tokens, b.threads); // prefill before decode
  });
  for (const Row &row : rows) {
    const bool isDecode = std::string(row.what) == "decode";
    const double perToken = row.seconds.median() / double(isDecode ? 1 : row.tokens);
    Json json = {{"what", row.what},
                 {isDecode ? "context" : "tokens", row.tokens},
                 {"threads", row.threads},
                 {"tokens_per_second", perToken > 0 ? 1 / perToken : 0},
                 {"seconds", row.seconds.json()},
                 {"spread", row.seconds.spread()}};
    if (isDecode) {
      json["weights_bytes_per_second"] = row.weightsRate.median();
      json["read_share"] = row.share.json();
    }
    results.rows.push_back(json);
  }
  return "";
}

} // namespace

std::vector<int64_t> someTokens(int64_t count, int64_t vocabulary) {
  std::vector<int64_t> tokens;
  uint64_t state = 1;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    tokens.push_back(int64_t((state >> 33) % uint64_t(vocabulary)));
  }
  return tokens;
}

std::string benchLanguageModel(const BenchOptions &options, Machine &machine, Results &results) {
  return LanguageBench(options, machine, results).run();
}

} // namespace edgecc::tools
