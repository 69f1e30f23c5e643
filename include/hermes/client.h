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
 * exactly as one of these, to a topic that the client is subscribed to, has it taken for one. */
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
    HERMES_CLIENT_BAD_URL = -1,    /* not ws://host[:port][/path] */
    HERMES_CLIENT_NO_TLS = -2,     /* wss:// */
    HERMES_CLIENT_BAD_OPTION = -3, /* a source that is no address, a subprotocol that is no token */
    HERMES_CLIENT_BAD_TOPIC = -4,  /* empty, not UTF-8, or with control characters */
    HERMES_CLIENT_NOT_JSON = -5,   /* data that is not one JSON text in UTF-8 */
    HERMES_CLIENT_NOT_UTF8 = -6,
    HERMES_CLIENT_FULL = -7,       /* the queue has no room now: on_drain tells when */
    HERMES_CLIENT_TOO_LARGE = -8,  /* the queue has no room even when empty */
    HERMES_CLIENT_NOT_OPEN = -9,   /* works only on an open connection */
    HERMES_CLIENT_BUSY = -10,      /* already open, or not ended yet */
    HERMES_CLIENT_NO_MEMORY = -11, /* nothing was changed */
    HERMES_CLIENT_SYSTEM = -12,    /* the operating system refused */
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

/* ---- what a client tells ---- */

enum hermes_answer_kind {
    HERMES_ANSWER_INFO,           /* message */
    HERMES_ANSWER_SUBSCRIBED,     /* topic; after a reconnect once again for each subscription */
    HERMES_ANSWER_UNSUBSCRIBED,   /* topic */
    HERMES_ANSWER_NOT_SUBSCRIBED, /* topic: an unsubscribe that had nothing to end */
    HERMES_ANSWER_TOPICS,         /* rows by hermes_answer_topic; next, next_len */
    HERMES_ANSWER_ERROR,          /* message */
};

struct hermes_answer {
    enum hermes_answer_kind kind;
    const char *topic;
    size_t topic_len;
    const char *message;
    size_t message_len;
    const char *next; /* NULL on the last page: else the `after` of the next one */
    size_t next_len;
    const char *rows; /* these three are hermes_answer_topic's */
    const char *rows_end;
    void *space;
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
};

/* All may be NULL. With neither on_data nor on_answer no text is looked into. */
struct hermes_client_events {
    /* Connected; subscriptions of an earlier connection are on their way ahead of what is queued.
     */
    void (*on_open)(struct hermes_client *c, void *user);
    /* Every text frame, before it is told apart. Writable, so that a JSON reader may work in it;
     * when it is changed, what follows reads the change. */
    void (*on_message)(struct hermes_client *c, char *text, size_t len, void *user);
    void (*on_data)(struct hermes_client *c, const char *data, size_t len, void *user);
    void (*on_answer)(struct hermes_client *c, struct hermes_answer *answer, void *user);
    /* The server has read everything that was sent before hermes_client_confirm(token). */
    void (*on_confirm)(struct hermes_client *c, uint64_t token, void *user);
    /* All that was queued has been handed to the system. */
    void (*on_drain)(struct hermes_client *c, void *user);
    /* A connection, or an attempt at one, is over. Without will_retry nothing follows until the
     * client is opened again. */
    void (*on_close)(struct hermes_client *c, const struct hermes_close *why, void *user);
};

/* ---- a client ---- */

#define HERMES_CLIENT_NEVER UINT32_MAX

/* Times in milliseconds. 0 and NULL stand for the default, HERMES_CLIENT_NEVER for "not at all". */
struct hermes_client_options {
    const char *url;         /* ws://host[:port][/path]; an IPv6 address in brackets; port 80 */
    const char *source;      /* address to connect from; any */
    const char *subprotocol; /* asked for; none */
    const struct hermes_client_events *events; /* borrowed for the client's life */
    void *user;
    uint32_t connect_ms; /* for each address: connection and handshake; 10 s */
    uint32_t ping_ms;    /* of silence, then a ping; 25 s */
    uint32_t pong_ms;    /* to answer it, else the connection is given up; 10 s */
    uint32_t close_ms;   /* without progress at the end of a connection; 5 s */
    uint32_t retry_ms; /* back-off: at random up to this, doubled each time; 500; NEVER: no retry */
    uint32_t retry_max_ms;   /* the most it is doubled to; 30 s */
    size_t max_queued_bytes; /* 16 MiB */
};

/* Checks and copies the options. HERMES_CLIENT_BAD_URL, _NO_TLS, _BAD_OPTION, _NO_MEMORY; `*out` is
 * NULL then. The group must not have been freed. */
HERMES_API int hermes_client_new(struct hermes_client **out, struct hermes_client_group *group,
    const struct hermes_client_options *options);

/* Starts connecting: names are resolved and every address is tried. From then on until
 * hermes_client_close the client connects again when a connection ends, at random within a back-off
 * that doubles, unless the server forbids it (close codes 4500 to 4999, an HTTP answer that says
 * the request is at fault) or it makes no sense (1002, 1003, 1007). HERMES_CLIENT_BUSY when it is
 * open. */
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

/* Publishes one JSON text, byte for byte. Without a connection it waits in the queue. What was not
 * handed to the system when a connection ends is sent on the next one; of what was handed over, the
 * server may have read all, some or nothing: hermes_client_confirm tells. HERMES_CLIENT_BAD_TOPIC,
 * _NOT_JSON, _FULL, _TOO_LARGE, _NO_MEMORY: nothing was queued. */
HERMES_API int hermes_client_publish(struct hermes_client *c, const char *topic, size_t topic_len,
    const char *data, size_t data_len);

/* Sends one text frame as it is, unchecked but for being UTF-8 (a server closes a connection for
 * that), and queues it as a publish. Answers to commands sent in this way are deliveries. A text
 * that begins as a command of this library ends with a connection as that would. */
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
