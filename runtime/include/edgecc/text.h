//===- text.h - Text in, text out ---------------------------------------------===//
//
// The text library: tokenizer and chat template of a model, and conversations over a session. It links with libedgecc_text and
// the runtime; tokenizer and template are tables in the model file that are used where they lie.
//
// The rules of edgecc.h hold here, too. Texts are UTF-8 and come with their size in bytes; they need no null byte.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_TEXT_H
#define EDGECC_TEXT_H

#include "edgecc/edgecc.h"

#ifdef __cplusplus
extern "C" {
#endif

//===-- Tokenizer and template of a model --------------------------------------===//

typedef struct edgecc_text edgecc_text;

/// Opens the text segment of a model that was compiled with a tokenizer. The model must outlive it.
EDGECC_API edgecc_status edgecc_text_open(const edgecc_model *model, edgecc_text **text, edgecc_error *error);
/// Opens a text segment in memory, which must be aligned to 16 bytes and outlive the result.
EDGECC_API edgecc_status edgecc_text_open_memory(const void *data, size_t size, edgecc_text **text, edgecc_error *error);
/// NULL is allowed. Conversations must be closed before.
EDGECC_API void edgecc_text_close(edgecc_text *text);

/// Number of token ids.
EDGECC_API size_t edgecc_text_vocabulary(const edgecc_text *text);
EDGECC_API int edgecc_text_has_template(const edgecc_text *text);
/// Whether the template has a notation for calls of tools that this library can read.
EDGECC_API int edgecc_text_has_tools(const edgecc_text *text);
/// Returns the id of a token given by its bytes ("<|im_end|>"), or -1.
EDGECC_API int32_t edgecc_text_token_id(const edgecc_text *text, const char *token, size_t size);
/// Whether the model's own settings end an answer at this token.
EDGECC_API int edgecc_text_is_stop(const edgecc_text *text, int32_t id);

enum {
  EDGECC_ADD_SPECIAL = 1u << 0,  ///< add the tokens that begin and end a text, as the tokenizer defines them
  EDGECC_PARSE_SPECIAL = 1u << 1 ///< recognise special tokens in the text; never set it for text of users
};
/// Writes the ids of a text. `*count` is the number of ids; only the first `capacity` are written, so a first call may ask with
/// 0.
EDGECC_API edgecc_status edgecc_text_encode(const edgecc_text *text, const char *utf8, size_t size, uint32_t flags, int32_t *ids,
                                            size_t capacity, size_t *count, edgecc_error *error);
/// Writes the text of ids; special tokens are left out. `*size` is its size; only the first `capacity` bytes are written.
EDGECC_API edgecc_status edgecc_text_decode(const edgecc_text *text, const int32_t *ids, size_t count, char *utf8,
                                            size_t capacity, size_t *size, edgecc_error *error);

//===-- How an answer is generated ----------------------------------------------===//

typedef struct edgecc_logit_bias {
  int32_t id;
  float bias; ///< added to the logit; -INFINITY forbids the token
} edgecc_logit_bias;

/// What happens when a prompt and its answer do not fit into the context.
typedef enum edgecc_context_policy {
  EDGECC_CONTEXT_REFUSE = 0,     ///< EDGECC_CONTEXT_FULL, with the numbers
  EDGECC_CONTEXT_DROP_OLDEST = 1 ///< the oldest messages are dropped; system messages stay
} edgecc_context_policy;

typedef struct edgecc_piece {
  const char *text; ///< whole characters; may be empty
  size_t size;
  int32_t id;            ///< the last token of this text; -1 when held-back text is released at the end
  float log_probability; ///< natural logarithm, of the model's own distribution; 0 if it was not asked for
} edgecc_piece;

/// Called for each piece of an answer, on the thread that asked for it. A result other than 0 ends the answer.
typedef int (*edgecc_on_piece)(void *user, const edgecc_piece *piece);

typedef struct edgecc_generation {
  size_t size;
  // Sampling. edgecc_generation_init sets the model's own defaults (generation_config.json).
  float temperature; ///< 0 takes the likeliest token
  uint32_t top_k;    ///< only the k likeliest; 0: all
  float top_p;       ///< the smallest set of likeliest tokens with this probability; 1: all
  float min_p;       ///< only tokens at least this likely, relative to the likeliest; 0: all
  float repetition_penalty, presence_penalty, frequency_penalty; ///< 1, 0 and 0 have no effect
  uint64_t seed;
  const edgecc_logit_bias *biases;
  size_t bias_count;
  // The end.
  uint32_t max_tokens;      ///< 0: until the context is full
  const char *const *stops; ///< strings that end the answer; they are not part of it
  size_t stop_count;
  int ignore_stop_tokens;
  edgecc_context_policy context_policy;
  // The rest.
  uint32_t prefill_chunk; ///< prompt tokens per call; 0: as many as the model takes
  int log_probabilities;  ///< compute edgecc_piece.log_probability, and call on_piece for empty pieces, too
  edgecc_on_piece on_piece;
  void *user;
} edgecc_generation;

/// `text` may be NULL: then sampling is greedy.
EDGECC_API void edgecc_generation_init(const edgecc_text *text, edgecc_generation *generation);

typedef enum edgecc_finish {
  EDGECC_FINISH_STOP_TOKEN = 0,
  EDGECC_FINISH_STOP_STRING = 1,
  EDGECC_FINISH_MAX_TOKENS = 2,
  EDGECC_FINISH_CONTEXT = 3,  ///< the context is full
  EDGECC_FINISH_CANCELLED = 4 ///< by edgecc_chat_cancel or the callback
} edgecc_finish;

/// "stop token", ...
EDGECC_API const char *edgecc_finish_name(edgecc_finish finish);

typedef struct edgecc_usage {
  uint64_t prompt_tokens;     ///< of the whole prompt, the conversation so far included
  uint64_t cached_tokens;     ///< of these, tokens that were in the cache already
  uint64_t generated_tokens;  ///< the token that ended the answer is not counted
  double first_token_seconds; ///< from the call to the first token; 0 without one
  double seconds;             ///< from the first token to the last one
  uint64_t dropped_messages;  ///< by EDGECC_CONTEXT_DROP_OLDEST
  edgecc_finish finish;
} edgecc_usage;

//===-- Conversations ------------------------------------------------------------===//

typedef struct edgecc_chat edgecc_chat;

/// Begins a conversation. It has the session to itself until it is closed; `text`, `model` and `session` must outlive it.
EDGECC_API edgecc_status edgecc_chat_open(edgecc_text *text, edgecc_model *model, edgecc_session *session, edgecc_chat **chat,
                                          edgecc_error *error);
/// NULL is allowed.
EDGECC_API void edgecc_chat_close(edgecc_chat *chat);

/// Adds a message. `role` is "system", "user", "assistant", "tool" or what else the template knows.
EDGECC_API edgecc_status edgecc_chat_add(edgecc_chat *chat, const char *role, const char *content, size_t size,
                                         edgecc_error *error);
/// Adds a message, or an array of them, as JSON: {"role": ..., "content": ..., "tool_calls": ...}.
EDGECC_API edgecc_status edgecc_chat_add_json(edgecc_chat *chat, const char *json, size_t size, edgecc_error *error);
/// Sets a variable of the template to a JSON value: "tools", "enable_thinking", ...
EDGECC_API edgecc_status edgecc_chat_set(edgecc_chat *chat, const char *variable, const char *json, size_t size,
                                         edgecc_error *error);
/// Removes all messages; variables stay. What is cached is used again as far as it fits.
EDGECC_API void edgecc_chat_clear(edgecc_chat *chat);
/// Number of messages.
EDGECC_API size_t edgecc_chat_message_count(const edgecc_chat *chat);
/// Removes the last `count` messages.
EDGECC_API edgecc_status edgecc_chat_remove(edgecc_chat *chat, size_t count, edgecc_error *error);
/// Writes the messages as a JSON array, which edgecc_chat_add_json takes. Sizes as in edgecc_text_decode.
EDGECC_API edgecc_status edgecc_chat_save(const edgecc_chat *chat, char *json, size_t capacity, size_t *size,
                                          edgecc_error *error);
/// Writes the prompt that edgecc_chat_answer would begin with. Sizes as in edgecc_text_decode.
EDGECC_API edgecc_status edgecc_chat_prompt(edgecc_chat *chat, char *utf8, size_t capacity, size_t *size, edgecc_error *error);

/// Generates the assistant's answer to the messages and adds it to them. Of the prompt only what is new is computed. `usage` may
/// be NULL. After an error the messages are as before.
EDGECC_API edgecc_status edgecc_chat_answer(edgecc_chat *chat, const edgecc_generation *generation, edgecc_usage *usage,
                                            edgecc_error *error);

/// A call of a tool in an answer. The texts are those of the conversation and stay until its next answer.
typedef struct edgecc_tool_call {
  const char *id;        ///< nine letters and digits
  const char *name;      ///< of the function
  const char *arguments; ///< a JSON object
  size_t arguments_size; ///< bytes
} edgecc_tool_call;

/// Number of calls in the last answer. Calls are looked for if the variable "tools" was set to a list, in the notation that the
/// template uses. They are no part of the text that on_piece gets; what looks like a call and cannot be parsed is. Answer a call
/// with a message of role "tool".
EDGECC_API size_t edgecc_chat_tool_call_count(const edgecc_chat *chat);
EDGECC_API edgecc_status edgecc_chat_tool_call(const edgecc_chat *chat, size_t index, edgecc_tool_call *call,
                                               edgecc_error *error);

/// Continues a text without the template; messages are not used and stay. With EDGECC_PARSE_SPECIAL in `flags` special tokens in
/// the text are recognised.
EDGECC_API edgecc_status edgecc_chat_complete(edgecc_chat *chat, const char *utf8, size_t size, uint32_t flags,
                                              const edgecc_generation *generation, edgecc_usage *usage, edgecc_error *error);
/// Ends the answer that is being generated. May be called from any thread and from a signal handler.
EDGECC_API void edgecc_chat_cancel(edgecc_chat *chat);

#ifdef __cplusplus
}
#endif
#endif // EDGECC_TEXT_H
