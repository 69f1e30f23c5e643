/* The wire protocol of Hermes: constants, and what the frames mean.
 *
 * One WebSocket connection (RFC 6455), text frames, one JSON text in each. This page is level 1:
 * what is spoken without a subprotocol, or with `hermes.v1`. T stands for a topic, N for its name
 * inside of a message text.
 *
 * client to server
 *   {"type":"subscribe","topic":T}
 *   {"type":"unsubscribe","topic":T}
 *   {"topic":T,"data":any JSON value}      publish; "type":"publish" may stand beside it
 *   {"type":"topics","prefix":P,"after":A,"limit":L}
 *                                          the topics that have subscribers, in byte order of their
 *                                          names; all three fields may be left out; L is 1 to 1000
 *
 * server to client
 *   {"type":"info","message":"Connected to HERMES WebSocket server. ..."}
 *                                          always the first frame
 *   {"type":"ack_subscribe","topic":T,"message":"Successfully subscribed to N"}
 *                                          also when already subscribed
 *   {"type":"ack_unsubscribe","topic":T,"message":"Successfully unsubscribed from N"}
 *   {"type":"topics","topics":[{"topic":T,"subscribers":n},...],"next":T}
 *                                          `next` only where more follow: ask again with it as
 * "after"
 *   {"type":"error","message":text}        texts below; a publish has no other answer
 *   any JSON value                         a delivery: the bare value that was published
 *
 * Unknown extra keys are ignored. `data` is forwarded byte for byte: numbers of any size, the order
 * of keys and doubled keys survive; null and false are values like any other. A malformed message
 * is answered and never closes the connection; a violation of RFC 6455 does. A binary frame is
 * answered with an error. Disconnecting ends all subscriptions of a client, and a topic that nobody
 * subscribes is gone.
 *
 * What the server promises
 *   1. Per-topic total order: all subscribers of a topic see its messages in the same order.
 *   2. Publisher order: what one connection publishes arrives, at any one subscriber, in the order
 *      sent, across topics too.
 *   3. Exactly once per subscriber while connected.
 *   4. No silent loss: a connected subscriber that will not get a message is told (at level 1: its
 *      connection is closed with a code).
 *   5. Acks are ordered with deliveries: after ack_subscribe of T every later publish to T arrives,
 *      after ack_unsubscribe none does.
 * Answers come in the order of the commands that ask for them.
 *
 * HTTP on the same port
 *   GET with an upgrade, any path: a WebSocket. Another Sec-WebSocket-Version than 13: 426. A
 *   malformed request: 400. A head over 8 KiB: 431. No room: 503 with Retry-After.
 *   GET /healthz: 200 while the process serves. GET /readyz: 200 while new clients are welcome, 503
 *   from the start of a shutdown on. Anything else: 404, or 426 where an upgrade was expected. */
#ifndef HERMES_PROTOCOL_H
#define HERMES_PROTOCOL_H

/* Subprotocol names (Sec-WebSocket-Protocol). */
#define HERMES_PROTOCOL_V1 "hermes.v1"
#define HERMES_PROTOCOL_V2 "hermes.v2"

/* Values of "type". */
#define HERMES_TYPE_SUBSCRIBE "subscribe"
#define HERMES_TYPE_UNSUBSCRIBE "unsubscribe"
#define HERMES_TYPE_PUBLISH "publish"
#define HERMES_TYPE_TOPICS "topics"
#define HERMES_TYPE_INFO "info"
#define HERMES_TYPE_ERROR "error"
#define HERMES_TYPE_ACK_SUBSCRIBE "ack_subscribe"
#define HERMES_TYPE_ACK_UNSUBSCRIBE "ack_unsubscribe"
/* The same, at level 2 only. */
#define HERMES_TYPE_PRESENCE "presence"
#define HERMES_TYPE_HISTORY "history"
#define HERMES_TYPE_AUTH "auth"
#define HERMES_TYPE_PING "ping"
#define HERMES_TYPE_PONG "pong"
#define HERMES_TYPE_ACK_PUBLISH "ack_publish"
#define HERMES_TYPE_ACK_AUTH "ack_auth"
#define HERMES_TYPE_MESSAGE "message"
#define HERMES_TYPE_GAP "gap"
#define HERMES_TYPE_JOIN "join"
#define HERMES_TYPE_LEAVE "leave"
#define HERMES_TYPE_RECONNECT "reconnect"

/* Values of "policy". */
#define HERMES_POLICY_DISCONNECT "disconnect"
#define HERMES_POLICY_DROP_OLDEST "drop_oldest"
#define HERMES_POLICY_LATEST "latest"

/* Values of "code" in an error. */
#define HERMES_ERROR_BAD_JSON "bad_json"
#define HERMES_ERROR_MALFORMED "malformed"
#define HERMES_ERROR_BAD_TOPIC "bad_topic"
#define HERMES_ERROR_BAD_PATTERN "bad_pattern"
#define HERMES_ERROR_NOT_SUBSCRIBED "not_subscribed"
#define HERMES_ERROR_UNAUTHORIZED "unauthorized"
#define HERMES_ERROR_FORBIDDEN "forbidden"
#define HERMES_ERROR_TOKEN_EXPIRED "token_expired"
#define HERMES_ERROR_RATE_LIMITED "rate_limited"
#define HERMES_ERROR_TOO_MANY_SUBSCRIPTIONS "too_many_subscriptions"
#define HERMES_ERROR_TOO_LARGE "too_large"
#define HERMES_ERROR_NO_HISTORY "no_history"
#define HERMES_ERROR_UNAVAILABLE "unavailable"

/* Message texts. The topic's name follows where a text ends with a space; a text that ends with
 * _START is a beginning, behind which a server says more. */
#define HERMES_TEXT_INFO_START "Connected to HERMES WebSocket server."
#define HERMES_TEXT_SUBSCRIBED "Successfully subscribed to "
#define HERMES_TEXT_UNSUBSCRIBED "Successfully unsubscribed from "
#define HERMES_TEXT_NOT_SUBSCRIBED "Not subscribed to "
#define HERMES_TEXT_BAD_JSON "Message must be valid JSON."
#define HERMES_TEXT_MALFORMED_START "Malformed message or unknown type. Expected"
#define HERMES_TEXT_BINARY "Binary messages are not supported. Send JSON as text."
#define HERMES_TEXT_TOPIC_LONG "Topic is longer than the limit."
#define HERMES_TEXT_TOPIC_CONTROL "Topic contains control characters."
#define HERMES_TEXT_TOPIC_NOT_UTF8 "Topic is not UTF-8: it has a lone surrogate escape."
#define HERMES_TEXT_SUBSCRIPTIONS "Too many subscriptions on this connection."
#define HERMES_TEXT_LISTINGS "Too many listings at the moment: ask again."
#define HERMES_TEXT_RATE "Too many messages a second: this one was ignored."
#define HERMES_TEXT_NOT_PUBLISHED "Out of memory: the message was not published."
#define HERMES_TEXT_NO_SUBSCRIPTION "Out of memory: not subscribed."
#define HERMES_TEXT_NO_TOPICS "Out of memory: topics not listed."
#define HERMES_TEXT_NO_CLIENTS "Out of memory: presence not told."
/* Of level 2 only. What is wrong with a field of a malformed command is said in other words. */
#define HERMES_TEXT_PATTERN_NOT_UTF8 "Pattern is not UTF-8: it has a lone surrogate escape."
#define HERMES_TEXT_MAY_NOT_SUBSCRIBE "This topic may not be subscribed."
#define HERMES_TEXT_MAY_NOT_PUBLISH "Nothing may be published to this topic."
#define HERMES_TEXT_TOO_LARGE "Data is larger than this topic allows."
#define HERMES_TEXT_NO_HISTORY "This topic keeps no history."
#define HERMES_TEXT_NO_PRESENCE "This topic does not tell who is there."
#define HERMES_TEXT_NO_TOKENS "This server takes no tokens."

/* Limits. The first four are defaults of the server's settings. */
enum {
    HERMES_MAX_MESSAGE_BYTES = 1 << 20, /* WS_MAX_MESSAGE_BYTES; more closes with 1009 */
    HERMES_MAX_TOPIC_BYTES = 1024,      /* WS_MAX_TOPIC_BYTES; at least 1; error */
    HERMES_MAX_SUBSCRIPTIONS = 10000,   /* WS_MAX_SUBSCRIPTIONS, of one connection; error */
    HERMES_DEFAULT_PORT = 443,          /* WS_PORT */
    HERMES_TOPICS_LIMIT = 100,          /* rows of a topics answer when no limit is asked for */
    HERMES_TOPICS_LIMIT_MAX = 1000,     /* rows that may be asked for */
    HERMES_JSON_DEPTH_MAX = 512,        /* arrays and objects inside each other */
};

/* Close codes. 1000 to 2999 are RFC 6455's, 4000 to 4499 mean "connecting again may help" and 4500
 * to 4999 "do not try again". */
enum hermes_close_code {
    HERMES_CLOSE_NORMAL = 1000,
    HERMES_CLOSE_GOING_AWAY = 1001, /* the server shuts down */
    HERMES_CLOSE_PROTOCOL = 1002,   /* a violation of RFC 6455 */
    HERMES_CLOSE_UNSUPPORTED = 1003,
    HERMES_CLOSE_NO_CODE = 1005, /* never on the wire: a close frame without a code */
    HERMES_CLOSE_LOST = 1006,    /* never on the wire: ended without a close frame */
    HERMES_CLOSE_NOT_UTF8 = 1007,
    HERMES_CLOSE_POLICY = 1008,
    HERMES_CLOSE_TOO_BIG = 1009,
    HERMES_CLOSE_INTERNAL = 1011,
    HERMES_CLOSE_RESTART = 1012,
    HERMES_CLOSE_TRY_LATER = 1013,
    HERMES_CLOSE_TOKEN_EXPIRED = 4001,
    HERMES_CLOSE_FORBIDDEN = 4003,
    HERMES_CLOSE_TOO_SLOW = 4008,    /* what was to be sent was not read in time */
    HERMES_CLOSE_CONNECTIONS = 4009, /* a limit of connections */
    HERMES_CLOSE_RATE = 4029,        /* a limit of messages per second, ignored for too long */
    HERMES_CLOSE_NO_RETRY_FIRST = 4500,
    HERMES_CLOSE_NO_RETRY_LAST = 4999,
};

#endif
