/* A WebSocket client for Hermes, on a libuv loop of the caller's.
 *
 * Order: a group per loop (hermes_client_group_new); clients in it (hermes_client_new), each
 *   opened, used, closed, and freed; at the end hermes_client_group_free, and the loop run until
 *   it has nothing left to do. A client may be opened again after it ended.
 * Threads: a group and its clients belong to the thread that runs the loop; every function here is
 *   called from that thread. Groups share nothing, so there may be one on each of many threads.
 * Callbacks: come from the loop, never from inside of a function below. Any function may be called
 *   from any of them; after hermes_client_free of the client none follows.
 * Memory: a client owns what it queues and remembers; texts given to it are copied, texts given to
 *   a callback are valid during the call. Reading and writing use buffers of the group: a message
 *   that comes in one piece costs no allocation, and a quiet connection holds no buffer.
 * Writing: what is sent is collected and handed to the system once per turn of the loop.
 * Signals: the program ignores SIGPIPE.
 *
 * Answers and deliveries. At level 1 a delivery is a bare value, so an answer is only known by what
 * it says. A text counts as an answer when it is, but for white space,
 *   - the first one of a connection, of type "info";
 *   - the acknowledgement (or "Not subscribed to T") of a subscribe or unsubscribe of T that has
 * not been answered; answers come in order, so those asked for before it were refused;
 *   - of type "topics" while an answer to hermes_client_topics is due;
 *   - an error with one of the fixed texts of protocol.h, or any error while the client has no
 *     subscription.
 * Everything else is a delivery. What stays ambiguous: somebody who publishes a value that reads
 * exactly as one of these, to a topic that the client is subscribed to, has it taken for one.
 *
 * Level 2 (options.level). Every text says what it is, so nothing is ambiguous, whatever anybody
 * publishes. Commands of the library carry ids of its own, strings that begin with #; a program
 * gives a token with what it asks, any number, and finds it in the answer. A server that does not
 * speak level 2 is not connected to.
 *
 * Recovery. At level 2 a client remembers how far it has come in each topic that it is subscribed
 * to, and goes on from there on its next connection: messages missed meanwhile are delivered, none
 * is delivered twice. Its answer of kind HERMES_ANSWER_SUBSCRIBED says whether that was possible:
 * HERMES_RECOVERED_NO means that messages are lost (or the topic is not the one it was), so that
 * the program has to reload what they told from elsewhere. Subscriptions by pattern are just made
 * anew. What a gap (on_gap) tells is lost at once, and is not delivered later. */
#ifndef HERMES_CLIENT_H
#define HERMES_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef HERMES_API
#define HERMES_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct uv_loop_s; /* uv_loop_t */
struct hermes_client;
struct hermes_client_group;

/* What the functions below answer. */
enum hermes_client_result {
    HERMES_CLIENT_OK = 0,
    HERMES_CLIENT_BAD_URL = -1,    /* not ws:// or wss://host[:port][/path] */
    HERMES_CLIENT_BAD_TLS = -2,    /* a file that tls_... names is no good, or the system has no
                                    * authorities: hermes_client_group_problem tells */
    HERMES_CLIENT_BAD_OPTION = -3, /* a source that is no address, a subprotocol that is none,
                                    * a token with bytes that no header may have */
    HERMES_CLIENT_BAD_TOPIC = -4,  /* empty, not UTF-8, or with control characters */
    HERMES_CLIENT_NOT_JSON = -5,   /* data that is not one JSON text in UTF-8 */
    HERMES_CLIENT_NOT_UTF8 = -6,
    HERMES_CLIENT_FULL = -7,       /* the queue has no room now: on_drain tells when */
    HERMES_CLIENT_TOO_LARGE = -8,  /* the queue has no room even when empty */
    HERMES_CLIENT_NOT_OPEN = -9,   /* works only on an open connection */
    HERMES_CLIENT_BUSY = -10,      /* already open, or not ended yet */
    HERMES_CLIENT_NO_MEMORY = -11, /* nothing was changed */
    HERMES_CLIENT_SYSTEM = -12,    /* the operating system refused */
    HERMES_CLIENT_NOT_LEVEL = -13, /* works only at level 2 */
};

/* One sentence without a full stop, for a person. Static. */
HERMES_API const char *hermes_client_error(int result);

/* ---- a group: what the connections of one loop share ---- */

struct hermes_client_group_options {
    size_t
        max_message_bytes; /* of one received message; 0: 64 MiB; more ends the connection, 1009 */
};

/* NULL when there is no memory. `options` may be NULL. */
HERMES_API struct hermes_client_group *hermes_client_group_new(
    struct uv_loop_s *loop, const struct hermes_client_group_options *options);

/* To be called once; takes effect when the last of its clients is freed and the loop has run on.
 * NULL is ignored. */
HERMES_API void hermes_client_group_free(struct hermes_client_group *group);

/* Why hermes_client_new answered HERMES_CLIENT_BAD_TLS last: one line, which names the file. */
HERMES_API const char *hermes_client_group_problem(const struct hermes_client_group *group);

/* ---- what a client tells ---- */

enum hermes_answer_kind {
    HERMES_ANSWER_INFO,           /* message; at level 2 client */
    HERMES_ANSWER_SUBSCRIBED,     /* topic; after a reconnect once again for each subscription; at
                                   * level 2 also epoch, offset, recovered; or pattern */
    HERMES_ANSWER_UNSUBSCRIBED,   /* topic, or at level 2 pattern */
    HERMES_ANSWER_NOT_SUBSCRIBED, /* the same: an unsubscribe that had nothing to end */
    HERMES_ANSWER_TOPICS,         /* rows by hermes_answer_topic; next, next_len */
    HERMES_ANSWER_ERROR,          /* message; at level 2 code, and topic or pattern if it is about
                                   * one; of a command with a token the token */
    /* Level 2 only. */
    HERMES_ANSWER_HISTORY,   /* topic, epoch, offset, recovered; rows by hermes_answer_message */
    HERMES_ANSWER_PRESENCE,  /* topic; rows by hermes_answer_client */
    HERMES_ANSWER_PUBLISHED, /* topic, offset, subscribers, id: of a publish by
                              * hermes_client_send_text; others come by on_published */
    HERMES_ANSWER_AUTHENTICATED, /* expires */
    HERMES_ANSWER_OTHER,         /* anything else: text */
};

enum hermes_recovered {
    HERMES_RECOVERED_UNASKED, /* no `since` was sent with the command */
    HERMES_RECOVERED_NO,      /* messages behind it are lost, or the epoch is another: reload */
    HERMES_RECOVERED_YES,     /* all messages behind it follow, or are there */
};

/* Texts that an answer does not have are NULL with 0, numbers 0. */
struct hermes_answer {
    enum hermes_answer_kind kind;
    const char *topic;
    size_t topic_len;
    const char *message;
    size_t message_len;
    const char *next; /* NULL on the last page: else the `after` of the next one */
    size_t next_len;
    const char *rows; /* these three belong to the functions that take out rows */
    const char *rows_end;
    void *space;
    /* Level 2 only. */
    uint64_t token; /* of what is answered; 0 when it had none */
    const char *pattern;
    size_t pattern_len;
    const char *epoch; /* opaque; offsets of the topic count within it */
    size_t epoch_len;
    uint64_t offset; /* of the topic's newest message, 0 before the first */
    enum hermes_recovered recovered;
    uint64_t subscribers;
    uint64_t expires; /* the token, in seconds since 1970; 0: never */
    const char *code; /* as PROTOCOL has them: "forbidden", "bad_pattern" ... */
    size_t code_len;
    const char *client; /* how the server calls this connection, in presence too */
    size_t client_len;
    const char *id; /* as it stands in the JSON: of a command by hermes_client_send_text */
    size_t id_len;
    const char *text; /* the whole text as it came */
    size_t text_len;
};

struct hermes_topic {
    const char *name;
    size_t name_len;
    uint64_t subscribers;
    const char *text; /* the row as it came: a JSON object */
    size_t text_len;
};

/* Takes the next row out of an answer of kind HERMES_ANSWER_TOPICS; false when none is left. The
 * row is valid until the next one is taken. */
HERMES_API bool hermes_answer_topic(struct hermes_answer *answer, struct hermes_topic *row);

/* A message of a topic's history. */
struct hermes_message {
    uint64_t offset;
    const char *data; /* the exact JSON text */
    size_t data_len;
    const char *text; /* the row as it came: a JSON object */
    size_t text_len;
};

/* As hermes_answer_topic, for HERMES_ANSWER_HISTORY; oldest first. */
HERMES_API bool hermes_answer_message(struct hermes_answer *answer, struct hermes_message *row);

/* The same for HERMES_ANSWER_PRESENCE: the id of one client that is subscribed. */
HERMES_API bool hermes_answer_client(
    struct hermes_answer *answer, const char **client, size_t *client_len);

/* ---- what a client tells at level 2 besides ---- */

struct hermes_delivery {
    const char *topic;
    size_t topic_len;
    const char *data; /* the exact JSON text that was published */
    size_t data_len;
    uint64_t offset; /* in the topic, from 1; of the epoch that its HERMES_ANSWER_SUBSCRIBED told */
    const char *pattern; /* the one by which it came; NULL: the topic itself is subscribed */
    size_t pattern_len;
    const char *text; /* the whole text as it came */
    size_t text_len;
};

/* Messages that will not come: this subscriber was too slow for its policy, or the brokers were cut
 * off from each other. The last two forms are of servers that share topics.
 *   neither epoch nor pattern   `from` to `to` of the topic
 *   epoch                       the topic's offsets have started anew, with this epoch. `from` to
 *                               `to` of it were missed, none that is known of where `to` is 0; what
 *                               of the old epoch was missed is not known. The client goes on behind
 *                               `to`, also on its next connection
 *   pattern                     of topics that it matches any may be missing; `topic_len`, `from`
 *                               and `to` are 0
 * Later versions may add members at the end; the library makes these. */
struct hermes_gap {
    const char *topic;
    size_t topic_len;
    uint64_t from; /* offsets of the first and the last */
    uint64_t to;
    const char *text;
    size_t text_len;
    const char *epoch; /* NULL: it is still the same */
    size_t epoch_len;
    const char *pattern; /* NULL: of a topic */
    size_t pattern_len;
};

/* Another client subscribed to the topic, or its subscription ended. */
struct hermes_member {
    const char *topic;
    size_t topic_len;
    const char *client; /* its id */
    size_t client_len;
    bool joined; /* false: it left */
    const char *text;
    size_t text_len;
};

enum hermes_publish_outcome {
    HERMES_PUBLISH_ACCEPTED, /* offset, subscribers */
    HERMES_PUBLISH_REFUSED,  /* code, message */
    HERMES_PUBLISH_UNKNOWN, /* the connection ended before the answer: it may be published or not */
};

/* What became of a publish that asked for an answer. */
struct hermes_published {
    uint64_t token;
    enum hermes_publish_outcome outcome;
    uint64_t offset; /* 0: the topic has neither subscribers nor history, so nobody got it */
    uint64_t subscribers;
    const char *topic; /* as the server says it; may be NULL */
    size_t topic_len;
    const char *code;
    size_t code_len;
    const char *message;
    size_t message_len;
    const char *text; /* the whole answer as it came; NULL when none did */
    size_t text_len;
};

/* What was wrong with TLS. */
enum hermes_tls_problem {
    HERMES_TLS_FINE,
    HERMES_TLS_NAME,    /* the server's certificate is for another host, */
    HERMES_TLS_TRUST,   /* not of an authority that is believed (see tls_ca), */
    HERMES_TLS_DATES,   /* expired or not valid yet, */
    HERMES_TLS_WEAK,    /* or no good otherwise */
    HERMES_TLS_OWN,     /* the server wants a certificate (tls_certificate), or another */
    HERMES_TLS_REFUSED, /* the server has no version, cipher or host that would fit */
    HERMES_TLS_PLAIN,   /* the server does not speak TLS there */
    HERMES_TLS_CLOSED,  /* the server hung up during the handshake */
    HERMES_TLS_OTHER,
};

struct hermes_close {
    int code;           /* the server's, HERMES_CLOSE_NO_CODE or HERMES_CLOSE_LOST */
    const char *reason; /* the server's, or why there is no connection; not terminated */
    size_t reason_len;
    bool opened;   /* false: it never came to on_open */
    bool clean;    /* the server has answered our close: all that was sent has been read */
    bool left_out; /* a queued text is not sent again: its size was refused (1009), or two
                    * connections in a row broke while it was sent, or memory ran out */
    bool will_retry;
    unsigned retry_ms; /* until the next attempt */
    enum hermes_tls_problem tls;
};

/* All may be NULL. With neither on_data nor on_answer (nor any of level 2) no text is looked into.
 */
struct hermes_client_events {
    /* Connected; subscriptions of an earlier connection are on their way ahead of what is queued.
     */
    void (*on_open)(struct hermes_client *c, void *user);
    /* Every text frame, before it is told apart. Writable, so that a JSON reader may work in it;
     * when it is changed, what follows reads the change. */
    void (*on_message)(struct hermes_client *c, char *text, size_t len, void *user);
    /* At level 2 for programs without on_delivery. */
    void (*on_data)(struct hermes_client *c, const char *data, size_t len, void *user);
    void (*on_answer)(struct hermes_client *c, struct hermes_answer *answer, void *user);
    /* The server has read everything that was sent before hermes_client_confirm(token). */
    void (*on_confirm)(struct hermes_client *c, uint64_t token, void *user);
    /* All that was queued has been handed to the system. */
    void (*on_drain)(struct hermes_client *c, void *user);
    /* A connection, or an attempt at one, is over. Without will_retry nothing follows until the
     * client is opened again. */
    void (*on_close)(struct hermes_client *c, const struct hermes_close *why, void *user);

    /* Level 2 only. */
    void (*on_delivery)(struct hermes_client *c, const struct hermes_delivery *d, void *user);
    void (*on_gap)(struct hermes_client *c, const struct hermes_gap *gap, void *user);
    void (*on_member)(struct hermes_client *c, const struct hermes_member *member, void *user);
    /* Once for each publish that asked for it: at the answer, or when the connection that it was
     * handed to is over (before on_close). */
    void (*on_published)(struct hermes_client *c, const struct hermes_published *p, void *user);
};

/* ---- a client ---- */

#define HERMES_CLIENT_NEVER UINT32_MAX

/* Times in milliseconds. 0 and NULL stand for the default, HERMES_CLIENT_NEVER for "not at all". */
struct hermes_client_options {
    const char *url;    /* ws://host[:port][/path]; an IPv6 address in brackets; port 80. Or wss://,
                         * which is the same through TLS (1.2 or 1.3); port 443 */
    const char *source; /* address to connect from; any */
    const char *subprotocol;                   /* asked for; none */
    const struct hermes_client_events *events; /* borrowed for the client's life */
    void *user;
    uint32_t connect_ms; /* for each address: connection and handshake; 10 s */
    uint32_t ping_ms;    /* of silence, then a ping; 25 s */
    uint32_t pong_ms;    /* to answer it, else the connection is given up; 10 s */
    uint32_t close_ms;   /* without progress at the end of a connection; 5 s */
    uint32_t retry_ms; /* back-off: at random up to this, doubled each time; 500; NEVER: no retry */
    uint32_t retry_max_ms;   /* the most it is doubled to; 30 s */
    size_t max_queued_bytes; /* 16 MiB */
    unsigned level;    /* 1 (which 0 stands for) or 2, which is a subprotocol: name no other then */
    const char *token; /* a JWT that says who this is, sent with each handshake; none */
    /* For wss://. Files are in PEM; they are read by hermes_client_new, and before a connection
     * when they have changed (what is no good then is not taken). Clients of a group that name the
     * same files share what is read. */
    const char *tls_ca; /* authorities one of which the server's certificate has to be from; those
                         * that the system believes */
    const char *tls_certificate; /* shown to a server that asks for one: its issuers behind it */
    const char *tls_key;         /* its key; it is in the same file */
    bool tls_insecure; /* any certificate is believed, so that whoever is on the way can read and
                        * change everything: for health checks and tests only */
};

/* Checks and copies the options. HERMES_CLIENT_BAD_URL, _BAD_TLS, _BAD_OPTION, _NO_MEMORY; `*out`
 * is NULL then. The group must not have been freed. */
HERMES_API int hermes_client_new(struct hermes_client **out, struct hermes_client_group *group,
    const struct hermes_client_options *options);

/* Starts connecting: names are resolved and every address is tried. From then on until
 * hermes_client_close the client connects again when a connection ends: at random within a back-off
 * that doubles or, at level 2, when the server has told it to, but no later than retry_max_ms. It
 * does not where the server forbids it (close codes 4500 to 4999, an HTTP answer that says the
 * request is at fault) or it makes no sense (1002, 1003, 1007; 4001 without a token that is newer
 * than the one that expired; TLS that the server's certificate, or this client's, is not good for:
 * HERMES_TLS_NAME, _TRUST, _WEAK, _OWN, _REFUSED. Dates get right by themselves, or are put right).
 * HERMES_CLIENT_BUSY when it is open. */
HERMES_API int hermes_client_open(struct hermes_client *c);

/* Ends a connection in order: what is queued goes out, then a close frame; on_close comes when the
 * server has answered it, or when nothing moves for close_ms. Deliveries go on until then. Code
 * 1000 or 3000 to 4999; `reason` may be NULL, and is cut at 123 bytes. Without an open connection
 * on_close comes at once, and what was queued stays in the queue. Nothing happens when the client
 * has ended. */
HERMES_API void hermes_client_close(struct hermes_client *c, int code, const char *reason);

/* Drops the connection as it is, without a word, and forgets the client: no callback follows. Its
 * memory goes when the loop has run on. NULL is ignored. */
HERMES_API void hermes_client_free(struct hermes_client *c);

/* Whether on_open has come and neither on_close nor hermes_client_close since. */
HERMES_API bool hermes_client_is_open(const struct hermes_client *c);

/* ---- commands ----
 * Subscriptions are remembered and made anew on each connection. Commands
 * end with a connection, and so do their answers: an unsubscribe is fulfilled by its end, a
 * subscribe is repeated, a topics command is to be asked again. */

/* Works at any time. HERMES_CLIENT_BAD_TOPIC, _FULL, _TOO_LARGE, _NO_MEMORY. */
HERMES_API int hermes_client_subscribe(struct hermes_client *c, const char *topic, size_t len);

/* As above; without a connection it only forgets the topic, and no answer comes. */
HERMES_API int hermes_client_unsubscribe(struct hermes_client *c, const char *topic, size_t len);

/* Asks for the active topics whose name begins with `prefix` and comes after `after` (byte order);
 * NULL with 0 for either: no such bound. `limit` 0: the server's default (100).
 * HERMES_CLIENT_NOT_OPEN, _BAD_TOPIC, _FULL, _TOO_LARGE, _NO_MEMORY. */
HERMES_API int hermes_client_topics(struct hermes_client *c, const char *prefix, size_t prefix_len,
    const char *after, size_t after_len, unsigned limit);

/* ---- commands of level 2 ----
 * At level 1 they answer HERMES_CLIENT_NOT_LEVEL. */

enum hermes_slow {
    HERMES_SLOW_DEFAULT,     /* what the server's rules say, else disconnect */
    HERMES_SLOW_DISCONNECT,  /* who is too slow is closed with HERMES_CLOSE_TOO_SLOW */
    HERMES_SLOW_DROP_OLDEST, /* the oldest messages are left out, and a gap tells */
    HERMES_SLOW_LATEST,      /* of each topic the newest message is kept, and a gap tells */
};

struct hermes_subscribe_options {
    const char *epoch; /* messages behind that epoch's `offset` first; NULL: not asked */
    size_t epoch_len;
    uint64_t offset;
    uint32_t replay; /* at most that many of the newest messages first; not with `epoch` */
    enum hermes_slow policy;
    bool presence; /* on_member for this topic */
    uint64_t token;
};

/* As hermes_client_subscribe. The options are remembered too; on a later connection the client goes
 * on where it was, instead of what `epoch` and `replay` ask for. For a topic that is subscribed
 * already, policy, presence and token are changed, nothing is replayed. HERMES_CLIENT_BAD_OPTION:
 * both `epoch` and `replay`, or a policy that is none. */
HERMES_API int hermes_client_subscribe_with(struct hermes_client *c, const char *topic, size_t len,
    const struct hermes_subscribe_options *options);

/* Subscribes to all topics that a pattern matches: of its segments, which are separated by `:`, `*`
 * stands for exactly one and a final `>` for one or more. What is not a pattern the server refuses
 * (HERMES_ANSWER_ERROR, "bad_pattern"). `options` may be NULL; HERMES_CLIENT_BAD_OPTION also when
 * they name `epoch` or `replay`. */
HERMES_API int hermes_client_subscribe_pattern(struct hermes_client *c, const char *pattern,
    size_t len, const struct hermes_subscribe_options *options);
HERMES_API int hermes_client_unsubscribe_pattern(
    struct hermes_client *c, const char *pattern, size_t len);

struct hermes_publish_options {
    bool ack; /* on_published tells what became of it, with `token` */
    uint64_t token;
    bool no_echo; /* not delivered to this client itself */
};

/* As hermes_client_publish. An answer that is due for it survives a connection as the publish does:
 * when it was not handed to the system it is sent and answered on the next one. */
HERMES_API int hermes_client_publish_with(struct hermes_client *c, const char *topic,
    size_t topic_len, const char *data, size_t data_len,
    const struct hermes_publish_options *options);

struct hermes_history_options {
    const char *epoch; /* messages behind that epoch's `offset`, oldest first; NULL: the newest */
    size_t epoch_len;
    uint64_t offset;
    unsigned limit; /* 1 to 1000 messages; 0: the server's default */
    uint64_t token;
};

/* Asks for messages that the server keeps of a topic; `options` may be NULL. The answer is
 * HERMES_ANSWER_HISTORY, or HERMES_ANSWER_ERROR with the code "no_history". HERMES_CLIENT_NOT_OPEN,
 * _BAD_TOPIC, _FULL, _TOO_LARGE, _NO_MEMORY. */
HERMES_API int hermes_client_history(struct hermes_client *c, const char *topic, size_t len,
    const struct hermes_history_options *options);

/* Asks who is subscribed to a topic, by a pattern too. Its answer, HERMES_ANSWER_PRESENCE, may come
 * behind those to later commands. Errors as above. */
HERMES_API int hermes_client_presence(
    struct hermes_client *c, const char *topic, size_t len, uint64_t token);

/* ---- tokens ---- */

/* Another token than the one in the options, or than the one before. At level 2 an open connection
 * sends it at once, and the answer is HERMES_ANSWER_AUTHENTICATED, or HERMES_ANSWER_ERROR with the
 * code "token_expired" or "unauthorized", and with the token `answer`; subscriptions that it does
 * not grant end, each with an HERMES_ANSWER_ERROR "forbidden". In any case it is the one for the
 * connections to come. An HERMES_ANSWER_ERROR with the code "token_expired" and no token (at level
 * 1 by its text, HERMES_TEXT_TOKEN_EXPIRES_START) says that it is time for another.
 * HERMES_CLIENT_BAD_OPTION, _FULL, _TOO_LARGE: nothing was changed; _NO_MEMORY. */
HERMES_API int hermes_client_auth(
    struct hermes_client *c, const char *token, size_t len, uint64_t answer);

/* ---- publishing ---- */

/* Publishes one JSON text, byte for byte. Without a connection it waits in the queue. What was not
 * handed to the system when a connection ends is sent on the next one; of what was handed over, the
 * server may have read all, some or nothing: hermes_client_confirm tells. HERMES_CLIENT_BAD_TOPIC,
 * _NOT_JSON, _FULL, _TOO_LARGE, _NO_MEMORY: nothing was queued. */
HERMES_API int hermes_client_publish(struct hermes_client *c, const char *topic, size_t topic_len,
    const char *data, size_t data_len);

/* Sends one text frame as it is, unchecked but for being UTF-8 (a server closes a connection for
 * that), and queues it as a publish. Answers to commands sent in this way are deliveries. A text
 * that begins as a command of this library ends with a connection as that would. At level 2 an
 * answer to it comes by on_answer, with its `id`, which does not begin with # inside of a string.
 */
HERMES_API int hermes_client_send_text(struct hermes_client *c, const char *text, size_t len);

/* Asks the server (by a ping, which it answers in order) to confirm that it has read all that was
 * sent before; on_confirm tells. Of several, the last may answer for all. HERMES_CLIENT_NOT_OPEN,
 * _FULL, _NO_MEMORY. */
HERMES_API int hermes_client_confirm(struct hermes_client *c, uint64_t token);

/* Bytes, with their frame heads, that have not been handed to the system. */
HERMES_API size_t hermes_client_queued_bytes(const struct hermes_client *c);

/* Publishes and texts among them that no part of was handed over yet, or that are to be sent again
 * on the next connection. Walks the queue. */
HERMES_API size_t hermes_client_queued_texts(const struct hermes_client *c);

/* Stops and resumes reading, so that the server has to wait. While stopped, the connection's end is
 * not noticed either. */
HERMES_API void hermes_client_pause(struct hermes_client *c);
HERMES_API void hermes_client_resume(struct hermes_client *c);

/* ---- URLs ---- */

struct hermes_url {
    char scheme[6]; /* ws, wss, http or https */
    char host[254]; /* a name, or an address without brackets */
    uint16_t port;  /* 80 or 443 when it names none */
    bool ipv6;
    const char *target; /* inside of the URL: what follows the port; empty, or begins with / or ? */
};

/* Takes a URL apart. False when it is not one: another scheme, a user, a fragment, no host, a port
 * that is not 1 to 65535, spaces or bytes beyond ASCII. */
HERMES_API bool hermes_url_parse(struct hermes_url *out, const char *url);

#ifdef __cplusplus
}
#endif

#endif
