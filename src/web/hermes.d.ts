// Types of hermes.js, and what each name means.

/** Any value that JSON can hold. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** How far somebody has come in a topic; `epoch` changes whenever offsets start anew. */
export interface Position {
    epoch: string;
    offset: number;
}

/** Cut short by a signal (its reason is thrown) or after `timeout` milliseconds ("timeout"). */
export interface Cancel {
    signal?: AbortSignal;
    timeout?: number;
}

/**
 * Why a token is wanted: for a new connection; because the one in use ends soon; because the last one
 * was refused or has ended.
 */
export type TokenReason = "connect" | "expiring" | "refused";

/** A token (a JWT), or what gives one each time that one is wanted. */
export type Token =
    | string
    | ((why: { reason: TokenReason; signal: AbortSignal }) =>
          string | null | undefined | Promise<string | null | undefined>);

export interface ConnectOptions {
    /** Where the server is, when it is not given by itself. */
    url?: string | URL;
    token?: Token;
    /** Needed where there is no global one, as in Node before 22: that of the package ws. */
    WebSocket?: unknown;
    /** Milliseconds. Waits are at random up to `minimum` (250), doubled each time to `maximum` (30 s). */
    backoff?: { minimum?: number; maximum?: number };
    /** What may wait to be sent, most of it while there is no connection: 1000 commands, 4 MiB. */
    queue?: { messages?: number; bytes?: number };
    /** For a connection to be made, milliseconds (10 s). */
    connectTimeout?: number;
    /** Quiet milliseconds until the server is asked whether it is there (30 s). */
    heartbeat?: number;
    /** For its answer, milliseconds (10 s). */
    heartbeatTimeout?: number;
    /** As the server's WS_MAX_MESSAGE_BYTES (1 MiB): it would close the connection for more. */
    maxMessageBytes?: number;
    /** Closes the client. */
    signal?: AbortSignal;
    /** For tests: what time it is, and timers. */
    clock?: {
        setTimeout(callback: () => void, ms: number): unknown;
        clearTimeout(timer: unknown): void;
        now(): number;
    };
    /** For tests: from 0 to 1. */
    random?: () => number;
}

/**
 * "disconnect": who is too slow is closed (4008), and goes on where it was. "drop_oldest" and
 * "latest" (of each topic) lose messages instead, of which a gap tells.
 */
export type Policy = "disconnect" | "drop_oldest" | "latest";

export interface SubscribeOptions {
    /** Begins behind this message; a message will do. Topics only. */
    since?: Position | null;
    /** Begins with the newest so many that are kept. Topics only. */
    replay?: number;
    /** For the server, and for `buffer`. Of several subscriptions to one topic the last counts there. */
    policy?: Policy;
    /** Tells who else comes and goes, by the events join and leave. Topics only. */
    presence?: boolean;
    /** Ends the subscription; an iterator throws its reason. */
    signal?: AbortSignal;
    /** Messages that may wait for an iterator (1000) that has had a turn since they came: more may come
     * at once. Past it `policy` counts: disconnect ends the iterator with the error "too_slow". */
    buffer?: number;
}

export interface Message<T = any> {
    readonly topic: string;
    readonly data: T;
    /** The exact JSON text of `data`: numbers past 2^53, too, and keys as they were written. */
    readonly raw: string;
    /** One more for each message of the topic. */
    readonly offset: number;
    /** Of a topic, not where it came by a pattern. */
    readonly epoch?: string;
    /** Of a subscription by pattern. */
    readonly pattern?: string;
    /** What is missing right before this one. */
    readonly gap?: Gap;
}

/** Messages that will not come. `history` may have them. */
export interface Gap {
    topic?: string;
    /** Of all topics that match: nobody knows what was published while there was no connection, or
     * while the brokers were cut off from each other. */
    pattern?: string;
    /** The first and the last; unknown when the topic's offsets have started anew without us. */
    from?: number;
    to?: number;
    /** The topic's offsets have started anew, and this is the epoch now. `from` and `to` are of it (`to`
     * is 0 where none is known to be missed); what was missed before is not known. */
    epoch?: string;
    /** False after a reconnect, where the server could not go on from where this client was. */
    recovered?: false;
    /** "slow": this connection, or brokers that were cut off from each other; "reconnect"; "buffer":
     * the iterator; "cluster": brokers that were cut off from each other, with `epoch` or `pattern`. */
    reason: "slow" | "reconnect" | "buffer" | "cluster";
}

/** The protocol's codes, then the client's own. */
export type ErrorCode =
    | "bad_json" | "malformed" | "bad_topic" | "bad_pattern" | "not_subscribed" | "unauthorized" | "forbidden"
    | "token_expired" | "rate_limited" | "too_many_subscriptions" | "too_large" | "no_history" | "unavailable"
    /** close() was called. */
    | "closed"
    /** The server closed for good: `closeCode`. */
    | "refused"
    /** An attempt to connect failed; the next one follows. */
    | "connect_failed"
    | "connection_lost"
    /** It was sent, and the connection ended before the answer: it may be published or not. */
    | "unknown_outcome"
    | "queue_full" | "timeout" | "too_slow" | "token_failed"
    | "bad_url" | "bad_option" | "no_websocket" | "no_level_2"
    | (string & {});

export class HermesError extends Error {
    constructor(code: ErrorCode, message: string,
        details?: { cause?: unknown; topic?: string; pattern?: string; closeCode?: number });
    readonly code: ErrorCode;
    readonly topic?: string;
    readonly pattern?: string;
    readonly closeCode?: number;
    readonly cause?: unknown;
}

type Listeners = { [event: string]: (...given: any[]) => void };

declare class Emitter<E extends Listeners> {
    /** Returns a function that takes the listener away again. */
    on<K extends keyof E>(event: K, listener: E[K], options?: { once?: boolean; signal?: AbortSignal }): () => void;
    once<K extends keyof E>(event: K, listener: E[K], options?: { signal?: AbortSignal }): () => void;
    off<K extends keyof E>(event: K, listener: E[K]): void;
}

export interface Subscribed {
    topic?: string;
    pattern?: string;
    epoch?: string;
    /** The topic's newest message so far. */
    offset?: number;
    /** Whether `since` could be kept to; else what was published meanwhile is to be got elsewhere. */
    recovered?: boolean;
}

export type SubscriptionEvents = {
    gap: (gap: Gap) => void;
    join: (who: { topic: string; client: string }) => void;
    leave: (who: { topic: string; client: string }) => void;
    /** It was refused, or has ended against its will. */
    error: (error: HermesError) => void;
    end: (error: unknown) => void;
};

/** Outlives connections; ends by unsubscribe, its signal, the client's end, or a refusal. */
export class Subscription<T = any> extends Emitter<SubscriptionEvents> implements AsyncIterable<Message<T>> {
    private constructor();
    readonly topic?: string;
    readonly pattern?: string;
    /** Settles with the server's first answer. */
    readonly ready: Promise<Subscribed>;
    readonly ended: boolean;
    /** Where to go on another time, as `since`: the last message that came, or, where offsets have started
     * anew since, their beginning. Topics only. */
    readonly position: Position | undefined;
    /** Resolves when the server sends no more of it. */
    unsubscribe(): Promise<void>;
    /** Without a callback only. Leaving the loop ends the subscription. */
    [Symbol.asyncIterator](): AsyncIterableIterator<Message<T>>;
}

export type HermesEvents = {
    open: (to: { client: string }) => void;
    /** A connection that was open has ended. `delay`: milliseconds until the next attempt. */
    close: (end: { code: number; reason: string; final: boolean; delay?: number }) => void;
    gap: (gap: Gap) => void;
    /** Whatever else is not told to a caller: attempts that fail, tokens, refused subscriptions. */
    error: (error: HermesError) => void;
    state: (state: State, before: State) => void;
    /** The server is about to let go of this connection, and says when to come back. */
    reconnect: (when: { afterMs: number | undefined }) => void;
};

/** "waiting": to connect again. "closed": for good. */
export type State = "connecting" | "open" | "waiting" | "closed";

export interface PublishOptions extends Cancel {
    /** false: not to this client itself. */
    echo?: boolean;
    /** false: resolves when it is sent; nobody hears whether it was taken, but for the event error. */
    ack?: boolean;
    /** true: `data` is JSON text, sent as it is. */
    raw?: boolean;
}

export interface Published {
    topic: string;
    offset: number;
    /** To how many it went. */
    subscribers: number;
}

export class Hermes extends Emitter<HermesEvents> {
    constructor(url?: string | URL, options?: ConnectOptions);
    readonly state: State;
    readonly url: string;
    /** The server's name for the connection; another one for each. */
    readonly client: string | undefined;
    /** Settles when it is open, at once if it is; rejects when it is closed for good. */
    readonly ready: Promise<Hermes>;
    /** Resolves when it is closed for good: with the reason, or undefined after close(). */
    readonly closed: Promise<HermesError | undefined>;

    subscribe<T = any>(to: string | { topic: string } | { pattern: string },
        callback: (message: Message<T>, subscription: Subscription<T>) => void,
        options?: SubscribeOptions): Subscription<T>;
    subscribe<T = any>(to: string | { topic: string } | { pattern: string },
        options?: SubscribeOptions): Subscription<T>;
    /** All subscriptions to it. */
    unsubscribe(from: string | { topic: string } | { pattern: string }): Promise<void>;

    publish(topic: string, data: unknown, options: PublishOptions & { ack: false }): Promise<void>;
    publish(topic: string, data: unknown, options?: PublishOptions): Promise<Published>;

    /** By name; `next` is the `after` of the next page. */
    topics(options?: { prefix?: string; pattern?: string; after?: string; limit?: number } & Cancel):
        Promise<{ topics: { topic: string; subscribers: number }[]; next?: string }>;
    /** The newest, or those behind `since`, oldest first; `recovered`: none is missing between. */
    history<T = any>(topic: string, options?: { since?: Position; limit?: number } & Cancel):
        Promise<{ topic: string; epoch: string; offset: number; recovered?: boolean; messages: Message<T>[] }>;
    presence(topic: string, options?: Cancel): Promise<{ topic: string; clients: string[] }>;
    /** Milliseconds there and back. */
    ping(options?: Cancel): Promise<number>;

    /** Another token, now and from now on; `expires` in seconds since 1970. */
    auth(token: string): Promise<{ expires?: number }>;
    /** Now, where it waits to connect again. */
    reconnect(): void;
    /** For good. Resolves when the connection is closed. */
    close(code?: number, reason?: string): Promise<void>;
}

/** Connects at once, and keeps connecting. `url` may be relative to the page; without it, its host. */
export function connect(url?: string | URL, options?: ConnectOptions): Hermes;
export function connect(options: ConnectOptions): Hermes;

/** Whether a connection that was closed with `code` is worth another; "later": not at once. */
export function afterClose(code: number): "retry" | "later" | "never";

export {}; // nothing else
