//===- text_api.cpp - The C interface of the text library ---------------------===//
#include "edgecc/text.h"

#include "runtime/text/Segment.h"
#include "runtime/text/chat/Conversation.h"
#include "runtime/text/chat/Fail.h"
#include "runtime/text/tokenizer/Decoder.h"

#include <math.h>
#include <new>

using namespace edgecc::text;

namespace {

template <typename T> void destroy(T *object) {
  if (object) {
    object->~T();
    free(object);
  }
}

/// Copies what fits and says how much there is.
void give(const Buffer<char> &from, char *to, size_t capacity, size_t *size) {
  if (size_t count = from.size() < capacity ? from.size() : capacity)
    memcpy(to, from.data(), count);
  *size = from.size();
}

edgecc_status checkGeneration(const edgecc_generation &options, edgecc_error *error) {
  const struct {
    const char *name;
    bool isRight;
    double value;
  } rules[] = {
      {"temperature must not be negative", options.temperature >= 0 && isfinite(options.temperature), options.temperature},
      {"top_p must be above 0 and at most 1", options.top_p > 0 && options.top_p <= 1, options.top_p},
      {"min_p must be 0 to 1", options.min_p >= 0 && options.min_p <= 1, options.min_p},
      {"repetition_penalty must be above 0", options.repetition_penalty > 0 && isfinite(options.repetition_penalty),
       options.repetition_penalty},
      {"presence_penalty must be a number", isfinite(options.presence_penalty), options.presence_penalty},
      {"frequency_penalty must be a number", isfinite(options.frequency_penalty), options.frequency_penalty},
  };
  for (const auto &rule : rules)
    if (!rule.isRight)
      return fail(error, EDGECC_INVALID_ARGUMENT, "%s, not %g", rule.name, rule.value);
  return EDGECC_OK;
}

} // namespace

const char *edgecc_text::open(const void *data, size_t size) {
  Segment segment;
  if (const char *fault = segment.open(data, size))
    return fault;
  const std::string_view tables = segment.section(SectionKind::Tokenizer), program = segment.section(SectionKind::Template),
                         generation = segment.section(SectionKind::Generation);
  if (tables.empty())
    return "the text segment has no tokenizer";
  if (const char *fault = tokenizer.open(tables.data(), tables.size()))
    return fault;
  if (!program.empty())
    if (const char *fault = chatTemplate.open(program.data(), program.size()))
      return fault;
  if (generation.empty())
    return nullptr;
  if (generation.size() < sizeof(defaults))
    return "the defaults of generation are cut short";
  memcpy(&defaults, generation.data(), sizeof(defaults));
  if (defaults.stopCount > kMaxStopIds || generation.size() - sizeof(defaults) < defaults.stopCount * sizeof(int32_t))
    return "the defaults of generation have too many stop tokens";
  stopIds = reinterpret_cast<const int32_t *>(generation.data() + sizeof(defaults));
  return nullptr;
}

bool edgecc_text::isStop(int32_t id) const {
  if (id == tokenizer.endId())
    return true;
  for (uint32_t i = 0; i < defaults.stopCount; ++i)
    if (stopIds[i] == id)
      return true;
  return false;
}

extern "C" {

edgecc_status edgecc_text_open_memory(const void *data, size_t size, edgecc_text **text, edgecc_error *error) {
  *text = nullptr;
  if (reinterpret_cast<uintptr_t>(data) % 16 != 0)
    return fail(error, EDGECC_INVALID_ARGUMENT, "a text segment must be aligned to 16 bytes");
  void *const memory = malloc(sizeof(edgecc_text));
  if (!memory)
    return outOfMemory(error);
  edgecc_text *const opened = new (memory) edgecc_text;
  if (const char *fault = opened->open(data, size)) {
    destroy(opened);
    return fail(error, EDGECC_MALFORMED, "%s", fault);
  }
  *text = opened;
  return EDGECC_OK;
}

edgecc_status edgecc_text_open(const edgecc_model *model, edgecc_text **text, edgecc_error *error) {
  *text = nullptr;
  edgecc_segment_info segment;
  for (size_t i = 0; edgecc_model_segment(model, i, &segment) == EDGECC_OK; ++i)
    if (segment.kind == EDGECC_TEXT)
      return edgecc_text_open_memory(segment.data, size_t(segment.length), text, error);
  return fail(error, EDGECC_UNSUPPORTED, "the model has no tokenizer inside; compile it with --tokenizer");
}

void edgecc_text_close(edgecc_text *text) { destroy(text); }

size_t edgecc_text_vocabulary(const edgecc_text *text) { return text->tokenizer.size(); }
int edgecc_text_has_template(const edgecc_text *text) { return text->chatTemplate.isOpen(); }
int edgecc_text_has_tools(const edgecc_text *text) {
  return text->chatTemplate.isOpen() && text->chatTemplate.notation() != ToolNotation::None;
}
int32_t edgecc_text_token_id(const edgecc_text *text, const char *token, size_t size) {
  return text->tokenizer.idOf({token, size});
}
int edgecc_text_is_stop(const edgecc_text *text, int32_t id) { return text->isStop(id); }

edgecc_status edgecc_text_encode(const edgecc_text *text, const char *utf8, size_t size, uint32_t flags, int32_t *ids,
                                 size_t capacity, size_t *count, edgecc_error *error) {
  Scratch scratch;
  Buffer<int32_t> result;
  if (!text->tokenizer.encode({utf8, size}, flags & EDGECC_PARSE_SPECIAL ? Trust::all() : Trust::none(),
                              {(flags & EDGECC_ADD_SPECIAL) != 0}, scratch, result))
    return outOfMemory(error);
  if (size_t copied = result.size() < capacity ? result.size() : capacity)
    memcpy(ids, result.data(), copied * sizeof(int32_t));
  *count = result.size();
  return EDGECC_OK;
}

edgecc_status edgecc_text_decode(const edgecc_text *text, const int32_t *ids, size_t count, char *utf8, size_t capacity,
                                 size_t *size, edgecc_error *error) {
  Decoder decoder(text->tokenizer);
  Buffer<char> result;
  for (size_t i = 0; i < count; ++i)
    if (ids[i] < 0 || uint32_t(ids[i]) >= text->tokenizer.size())
      return fail(error, EDGECC_INVALID_ARGUMENT, "id %d at place %zu is not in the vocabulary of %u", ids[i], i,
                  text->tokenizer.size());
    else if (!decoder.feed(uint32_t(ids[i]), result))
      return outOfMemory(error);
  if (!decoder.finish(result))
    return outOfMemory(error);
  give(result, utf8, capacity, size);
  return EDGECC_OK;
}

void edgecc_generation_init(const edgecc_text *text, edgecc_generation *generation) {
  *generation = edgecc_generation{};
  generation->size = sizeof(*generation);
  const GenerationDefaults greedy = {0, 1, 0, 1, 0, 0}, &defaults = text ? text->defaults : greedy;
  generation->temperature = defaults.temperature;
  generation->top_k = defaults.topK;
  generation->top_p = defaults.topP;
  generation->min_p = defaults.minP;
  generation->repetition_penalty = defaults.repetitionPenalty;
}

const char *edgecc_finish_name(edgecc_finish finish) {
  static const char *const names[] = {"stop token", "stop string", "max tokens", "context full", "cancelled"};
  return unsigned(finish) < sizeof(names) / sizeof(names[0]) ? names[finish] : "?";
}

edgecc_status edgecc_chat_open(edgecc_text *text, edgecc_model *model, edgecc_session *session, edgecc_chat **chat,
                               edgecc_error *error) {
  *chat = nullptr;
  void *const memory = malloc(sizeof(edgecc_chat));
  if (!memory)
    return outOfMemory(error);
  edgecc_chat *const opened = new (memory) edgecc_chat(*text, model, session);
  if (edgecc_status status = opened->open(error)) {
    destroy(opened);
    return status;
  }
  *chat = opened;
  return EDGECC_OK;
}

void edgecc_chat_close(edgecc_chat *chat) { destroy(chat); }

edgecc_status edgecc_chat_add(edgecc_chat *chat, const char *role, const char *content, size_t size, edgecc_error *error) {
  return chat->add(role, {content, size}, error);
}
edgecc_status edgecc_chat_add_json(edgecc_chat *chat, const char *json, size_t size, edgecc_error *error) {
  return chat->addJson({json, size}, error);
}
edgecc_status edgecc_chat_set(edgecc_chat *chat, const char *variable, const char *json, size_t size, edgecc_error *error) {
  return chat->set(variable, {json, size}, error);
}
void edgecc_chat_clear(edgecc_chat *chat) { chat->clear(); }
size_t edgecc_chat_message_count(const edgecc_chat *chat) { return chat->messageCount(); }
edgecc_status edgecc_chat_remove(edgecc_chat *chat, size_t count, edgecc_error *error) { return chat->remove(count, error); }

edgecc_status edgecc_chat_save(const edgecc_chat *chat, char *json, size_t capacity, size_t *size, edgecc_error *error) {
  Buffer<char> result;
  chat->save(result);
  if (result.failed())
    return outOfMemory(error);
  give(result, json, capacity, size);
  return EDGECC_OK;
}

edgecc_status edgecc_chat_prompt(edgecc_chat *chat, char *utf8, size_t capacity, size_t *size, edgecc_error *error) {
  TemplateOutput output;
  if (edgecc_status status = chat->render(0, output, error))
    return status;
  give(output.text, utf8, capacity, size);
  return EDGECC_OK;
}

edgecc_status edgecc_chat_answer(edgecc_chat *chat, const edgecc_generation *generation, edgecc_usage *usage,
                                 edgecc_error *error) {
  edgecc_usage own = {};
  if (edgecc_status status = checkGeneration(*generation, error))
    return status;
  const edgecc_status status = chat->answer(*generation, own, error);
  if (usage)
    *usage = own;
  return status;
}

size_t edgecc_chat_tool_call_count(const edgecc_chat *chat) { return chat->toolCallCount(); }
edgecc_status edgecc_chat_tool_call(const edgecc_chat *chat, size_t index, edgecc_tool_call *call, edgecc_error *error) {
  return chat->toolCall(index, *call, error);
}

edgecc_status edgecc_chat_complete(edgecc_chat *chat, const char *utf8, size_t size, uint32_t flags,
                                   const edgecc_generation *generation, edgecc_usage *usage, edgecc_error *error) {
  edgecc_usage own = {};
  if (edgecc_status status = checkGeneration(*generation, error))
    return status;
  const edgecc_status status = chat->complete({utf8, size}, flags, *generation, own, error);
  if (usage)
    *usage = own;
  return status;
}

void edgecc_chat_cancel(edgecc_chat *chat) { chat->cancel(); }
}
