//===- Conversation.h - Messages in, an answer out ----------------------------===//
//
// The ids of a conversation are kept, and an answer is never encoded again: a new prompt is compared with the text that the kept
// ids stand for, and only what differs is encoded and computed. Where a template rewrites earlier turns, the ids before the first
// difference stay, from the last turn that ends there.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_CHAT_CONVERSATION_H
#define EDGECC_RUNTIME_TEXT_CHAT_CONVERSATION_H

#include "runtime/text/chat/AnswerStream.h"
#include "runtime/text/chat/LanguageDriver.h"
#include "runtime/text/chat/Sampler.h"
#include "runtime/text/chat/TextModel.h"

/// A conversation over a session. The C interface calls it edgecc_chat.
struct edgecc_chat {
  edgecc_chat(edgecc_text &text, edgecc_model *model, edgecc_session *session) : text(text), driver(model, session) {}

  edgecc_status open(edgecc_error *error);
  edgecc_status add(std::string_view role, std::string_view content, edgecc_error *error);
  edgecc_status addJson(std::string_view json, edgecc_error *error);
  edgecc_status set(std::string_view variable, std::string_view json, edgecc_error *error);
  edgecc_status remove(size_t count, edgecc_error *error);
  void clear();
  size_t messageCount() const { return messages.size(); }
  /// Appends the messages as a JSON array.
  void save(edgecc::text::Buffer<char> &json) const;

  /// Renders the messages from `first` on and the system messages before it.
  edgecc_status render(size_t first, edgecc::text::TemplateOutput &output, edgecc_error *error) const;
  edgecc_status answer(const edgecc_generation &generation, edgecc_usage &usage, edgecc_error *error);
  edgecc_status complete(std::string_view prompt, uint32_t flags, const edgecc_generation &generation, edgecc_usage &usage,
                         edgecc_error *error);
  /// Number of calls of tools in the last answer.
  size_t toolCallCount() const { return calls.size(); }
  edgecc_status toolCall(size_t index, edgecc_tool_call &call, edgecc_error *error) const;
  void cancel() { __atomic_store_n(&isCancelled, true, __ATOMIC_RELAXED); }

private:
  /// JSON texts one after another; each ends where the next one begins.
  struct Texts {
    edgecc::text::Buffer<char> bytes;
    edgecc::text::Buffer<size_t> ends;
    size_t size() const { return ends.size(); }
    std::string_view operator[](size_t i) const {
      const size_t begin = i ? ends[i - 1] : 0;
      return {bytes.data() + begin, ends[i] - begin};
    }
    bool push(std::string_view text) { return append(bytes, text) && ends.push(bytes.size()); }
    void truncate(size_t count);
  };
  /// The first `ids` kept ids are the tokens of the first `bytes` bytes of the kept text.
  struct Checkpoint {
    size_t bytes, ids;
  };
  /// A call in `callBytes`: name, null byte, arguments as JSON, null byte.
  struct Call {
    size_t begin, nameSize, argumentsSize;
    char id[10];
  };
  struct Prompt {
    std::string_view text;
    const edgecc::text::TrustRange *trusted;
    size_t trustedCount;
    edgecc::text::EncodeOptions options;
  };

  bool isSystem(size_t message) const;
  edgecc_status renderToFit(const edgecc_generation &generation, edgecc::text::TemplateOutput &output, edgecc_usage &usage,
                            edgecc_error *error);
  edgecc_status encode(const Prompt &prompt, size_t from, edgecc::text::Buffer<int32_t> &to, edgecc_error *error);
  edgecc_status take(const Prompt &prompt, edgecc_usage &usage, edgecc_error *error);
  edgecc_status checkRoom(const edgecc_generation &generation, edgecc_error *error) const;
  edgecc_status rewindTo(size_t count, edgecc_error *error);
  edgecc_status generate(const edgecc_generation &generation, edgecc::text::ToolNotation notation,
                         edgecc::text::Buffer<char> &answer, edgecc_usage &usage, edgecc_error *error);
  edgecc::text::ToolNotation notation() const;
  void beginAnswer();
  edgecc_status takeCalls(edgecc::text::AnswerStream &stream, edgecc::text::Buffer<char> &rest, edgecc_error *error);
  edgecc_status addAnswer(std::string_view content, edgecc_error *error);

  edgecc_text &text;
  edgecc::text::LanguageDriver driver;
  edgecc::text::Scratch scratch;
  Texts messages, variables; ///< variables: names and JSON values in turn
  edgecc::text::Buffer<char> keptText;
  edgecc::text::Buffer<int32_t> kept; ///< ids; the session may lack the last ones
  edgecc::text::Buffer<Checkpoint> checkpoints;
  edgecc::text::Buffer<float> logits;
  edgecc::text::Buffer<Call> calls; ///< of the last answer
  edgecc::text::Buffer<char> callBytes;
  bool isCancelled = false;
};

#endif // EDGECC_RUNTIME_TEXT_CHAT_CONVERSATION_H
