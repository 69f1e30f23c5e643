/* The wire protocol of Hermes: constants, and what the frames mean.
 *
 * One WebSocket connection (RFC 6455), text frames, one JSON text in each. Level 1 is what is
 * spoken without a subprotocol, or with `hermes.v1`; level 2 is asked for by `hermes.v2`, which is
 * preferred where both are offered. T stands for a topic, N for its name inside of a message text.
 *
 * Level 1, client to server
 *   {"type":"subscribe","topic":T}
 *   {"type":"unsubscribe","topic":T}
 *   {"topic":T,"data":any JSON value}      publish; "type":"publish" may stand beside it
 *   {"type":"topics","prefix":P,"after":A,"limit":L}
 *                                          the topics that have subscribers or keep messages, in
 *                                          byte order of their names; all three fields may be left
 *                                          out; L is 1 to 1000
 *
 * Level 1, server to client
 *   {"type":"info","message":"Connected to HERMES WebSocket server. ..."}
 *                                          always the first frame
 *   {"type":"ack_subscribe","topic":T,"message":"Successfully subscribed to N"}
 *                                          also when already subscribed
 *   {"type":"ack_unsubscribe","topic":T,"message":"Successfully unsubscribed from N"}
 *   {"type":"topics","topics":[{"topic":T,"subscribers":n},...],"next":T}
 *                                          `next` only where more may follow, and behind a page
 *                                          that is not full too: ask again with it as "after"
 *   {"type":"error","message":text}        texts below; a publish has no other answer
 *   any JSON value                         a delivery: the bare value that was published
 *
 * Unknown extra keys are ignored, of a repeated key the last counts. `data` is forwarded byte for
 * byte: numbers of any size, the order of keys and doubled keys survive; null and false are values
 * like any other. A malformed message is answered and never closes the connection; a violation of
 * RFC 6455 does. A binary frame is answered with an error. Disconnecting ends all subscriptions of
 * a client, and a topic that nobody subscribes is gone, unless it keeps history.
 *
 * Level 2, client to server: the commands of level 1, with more fields, and more commands. Every
 * one may have an "id", a string of at most 64 bytes or an integer of at most 64 characters, which
 * comes back in its answers as it was written, in errors too. E is a topic's epoch, a string of at
 * most 64 bytes that means nothing to a client; offsets are integers from 0 to 2^63-1.
 *   {"type":"subscribe","topic":T,...}     or "topics":[T,...] (1 to 1000), or "pattern":P: exactly
 *                                          one of them
 *       "since":{"epoch":E,"offset":n}     what came behind offset n first; with "topic" only
 *       "replay":n                         at most the newest n messages first; not with a pattern,
 *                                          nor together with since
 *       "policy":"disconnect"|"drop_oldest"|"latest"
 *                                          when it is too slow; else as the topic's rule has it,
 *                                          else disconnect
 *       "presence":true                    join and leave of others are told
 *   {"type":"unsubscribe","topic":T}       or topics, or pattern
 *   {"topic":T,"data":value,"echo":false}  echo:false: not delivered to the publisher itself; a
 *                                          replay has it all the same
 *   {"type":"topics",...,"pattern":P}      only those that match
 *   {"type":"presence","topic":T}
 *   {"type":"history","topic":T,"since":{"epoch":E,"offset":n},"limit":L}
 *                                          with since those behind n, the oldest first, else the
 *                                          newest; L is 1 to 1000, 100 when left out
 *   {"type":"auth","token":text}           another token than the one it has, or its first;
 *                                          unavailable where the server takes no tokens
 *   {"type":"ping"}
 * A field that is used by a command and is of the wrong type or out of its bounds makes it
 * malformed, and nothing of it is done; so does one bad name among "topics".
 *
 * Level 2, server to client
 *   info as at level 1, with "client":C, this connection's own id, a string
 *   {"type":"ack_subscribe","topic":T,"message":text,"epoch":E,"offset":n,"recovered":b}
 *                                          n is the topic's newest message so far; recovered only
 *                                          where since was given. Then the replayed messages come,
 *                                          then live ones. One ack or error for each of several
 *                                          topics, in their order. Who is subscribed already gets
 *                                          an ack and no replay; policy and presence change
 *   {"type":"ack_subscribe","pattern":P,"message":text}
 *   {"type":"ack_unsubscribe",...}         with topic or pattern, and the message of level 1
 *   {"type":"ack_publish","topic":T,"offset":n,"subscribers":m}
 *                                          to a publish with an id; both are 0 where there is no
 *                                          such topic
 *   topics as at level 1
 *   {"type":"presence","topic":T,"clients":[C,...]}
 *                                          all who are subscribed, by a pattern too; it may come
 *                                          after the answers to later commands
 *   {"type":"history","topic":T,"epoch":E,"offset":n,"recovered":b,
 *    "messages":[{"offset":n,"data":value},...]}
 *                                          recovered only where since was given: whether none is
 *                                          missing between that and the first
 *   {"type":"ack_auth","expires":t}        in seconds since 1970; left out when it never does. What
 *                                          of the subscriptions this token does not grant has ended
 *                                          before, each with an error "forbidden" without an id
 *   {"type":"pong"}
 *   {"type":"error","code":code,"message":text,"topic":T}
 *                                          codes below; topic or pattern where it is of one
 *   {"type":"message","topic":T,"data":value,"offset":n}
 *                                          a delivery; with "pattern":P, the oldest of those that
 *                                          match, when T itself is not subscribed
 *   {"type":"gap","topic":T,"from":a,"to":b}
 *                                          messages a to b will not come by themselves; history may
 *                                          have them
 *   {"type":"gap","topic":T,"from":1,"to":n,"epoch":E}
 *                                          T's offsets have started anew, in the epoch E, while we
 *                                          are subscribed: messages 1 to n of it were missed, none
 *                                          that is known of where n is 0. What of the old epoch was
 *                                          missed is not known. The next one's offset is behind n;
 *                                          since is {"epoch":E,"offset":n} from now on
 *   {"type":"gap","pattern":P}             messages of topics that P matches may have been missed
 *   {"type":"join","topic":T,"client":C}   or "leave": of others, and not of subscriptions by
 *                                          pattern
 *   {"type":"reconnect","after_ms":n}      the server will close this connection n ms from now,
 *                                          with 1012: connect again then, or elsewhere before
 * A client ignores keys and types that it does not know.
 *
 * Offsets are per topic, one more for each message, from 1; the epoch changes whenever they start
 * anew. recovered is true only where the epoch matches and every message behind the offset is
 * replayed, without a gap; else nothing is replayed, and what was missed must be got elsewhere.
 *
 * Topics and patterns are UTF-8, 1 to 1024 bytes, without control characters; segments are
 * separated by `:`. In a pattern the segment * stands for exactly one, a last segment > for one or
 * more, and neither may stand beside other characters in a segment (bad_pattern). In a topic they
 * are characters like any other. Each message is delivered once, however many subscriptions match.
 *
 * Slow clients: who reads too slowly is disconnected (4008), or under the other policies loses
 * messages, of which a gap tells before the topic's next message: drop_oldest loses the oldest,
 * latest all but the newest of a topic. At level 1 it is always disconnect.
 *
 * Brokers that share topics may be cut off from each other. What is missed by that and cannot be
 * made up for is told by gaps, whatever the policy: by the last two forms where it is not known
 * how much it is. At level 1, where nothing can be told, the connection is closed with 1012 when
 * messages of one of its topics are known to be lost: it may connect again at once.
 *
 * What the server promises
 *   1. Per-topic total order: all subscribers of a topic see its messages in the same order.
 *   2. Publisher order: what one connection publishes arrives, at any one subscriber, in the order
 *      sent, across topics too.
 *   3. Exactly once per subscriber while connected.
 *   4. No silent loss: a connected subscriber that will not get a message is told (by a gap, or its
 *      connection is closed with a code).
 *   5. Acks are ordered with deliveries: after ack_subscribe of T every later publish to T arrives,
 *      after ack_unsubscribe none does.
 * Answers come in the order of the commands that ask for them, but for presence.
 *
 * Tokens: a JWT may come with the handshake (Authorization: Bearer, ?token=, or an offered
 * subprotocol "token." and the JWT, beside hermes.v1 or hermes.v2), or by auth later. One that does
 * not hold is refused (401; unauthorized or token_expired); without one a client may do what the
 * server's rules let everyone do. Some time before its end comes an error token_expired without an
 * id, and at its end the connection is closed with 4001; that of a revoked one with 4003. What may
 * not be done is forbidden, whether or not the topic exists; topics lists only what may be
 * subscribed. Topics that not everyone may subscribe do not come by patterns.
 *
 * HTTP on the same port
 *   GET with an upgrade, any path: a WebSocket. Another Sec-WebSocket-Version than 13: 426. A
 *   malformed request: 400. A head over 8 KiB: 431. A token that does not hold: 401. No room: 503
 *   with Retry-After. Who comes back after a connection that ended may put resume=1 into the query,
 *   and is let in first where there is a crowd.
 *   GET /sse?topic=T&pattern=P&replay=n&since=EPOCH:OFFSET&token=...: server-sent events. A message
 *   of level 2 is an event without a type, its id "EPOCH:OFFSET" unless it came by a pattern; what
 *   else level 2 is told is an event "hermes", and so is the end: {"type":"close","code":n,
 *   "reason":text}. The data of an event is one line: a space for each CR and LF that stood between
 *   tokens. Last-Event-ID counts as the `since` of each topic. What cannot be served is
 *   answered 400, 401, 403, 405 or 503 with an error as JSON.
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
#define HERMES_TEXT_ALONE "The other servers cannot be reached at the moment: ask again."
#define HERMES_TEXT_TOPICS_FEW "Too many topics were looked at in vain: ask for a longer prefix."
#define HERMES_TEXT_MAY_NOT_SUBSCRIBE "This topic may not be subscribed."
#define HERMES_TEXT_MAY_NOT_PUBLISH "Nothing may be published to this topic."
#define HERMES_TEXT_TOO_LARGE "Data is larger than this topic allows."
#define HERMES_TEXT_TOKEN_EXPIRES_START "The token expires at "
/* Of level 2 only. What is wrong with a field of a malformed command is said in other words. */
#define HERMES_TEXT_PATTERN_NOT_UTF8 "Pattern is not UTF-8: it has a lone surrogate escape."
#define HERMES_TEXT_MAY_NOT_PATTERN "This pattern may not be subscribed."
#define HERMES_TEXT_NO_HISTORY "This topic keeps no history."
#define HERMES_TEXT_NO_PRESENCE "This topic does not tell who is there."
#define HERMES_TEXT_NO_TOKENS "This server takes no tokens."
#define HERMES_TEXT_TOKENS "Too many tokens at the moment: try again."

/* Limits. The first four are defaults of the server's settings. */
enum {
    HERMES_MAX_MESSAGE_BYTES = 1 << 20, /* WS_MAX_MESSAGE_BYTES; more closes with 1009 */
    HERMES_MAX_TOPIC_BYTES = 1024,      /* WS_MAX_TOPIC_BYTES; at least 1; error */
    HERMES_MAX_SUBSCRIPTIONS = 10000,   /* WS_MAX_SUBSCRIPTIONS, of one connection; error */
    HERMES_DEFAULT_PORT = 443,          /* WS_PORT */
    HERMES_TOPICS_LIMIT = 100,          /* rows of a topics answer when no limit is asked for */
    HERMES_TOPICS_LIMIT_MAX = 1000,     /* rows that may be asked for */
    HERMES_TOPICS_MAX = 1000,           /* names in "topics"; each counts as a message */
    HERMES_JSON_DEPTH_MAX = 512,        /* arrays and objects inside each other */
    HERMES_HISTORY_LIMIT = 100,         /* messages of a history answer, likewise */
    HERMES_HISTORY_LIMIT_MAX = 1000,
    HERMES_MAX_ID_BYTES = 64,    /* of an id; characters of an integer */
    HERMES_MAX_EPOCH_BYTES = 64, /* of an epoch that a client sends */
};

/* Close codes. 1000 to 2999 are RFC 6455's, 4000 to 4499 mean "connecting again may help" and 4500
 * to 4999 "do not try again". */
enum hermes_close_code {
    HERMES_CLOSE_NORMAL = 1000,
    HERMES_CLOSE_GOING_AWAY = 1001,
    HERMES_CLOSE_PROTOCOL = 1002, /* a violation of RFC 6455 */
    HERMES_CLOSE_UNSUPPORTED = 1003,
    HERMES_CLOSE_NO_CODE = 1005, /* never on the wire: a close frame without a code */
    HERMES_CLOSE_LOST = 1006,    /* never on the wire: ended without a close frame */
    HERMES_CLOSE_NOT_UTF8 = 1007,
    HERMES_CLOSE_POLICY = 1008,
    HERMES_CLOSE_TOO_BIG = 1009,
    HERMES_CLOSE_INTERNAL = 1011,
    HERMES_CLOSE_RESTART = 1012, /* the server shuts down; or messages were missed: come back */
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
