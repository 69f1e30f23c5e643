// Only compiled: what the types allow, and what they do not.
import { Hermes, HermesError, Subscription, afterClose, connect } from "../../../src/web/hermes.js";
import type { ConnectOptions, Gap, Message, Position, Published, State } from "../../../src/web/hermes.js";

interface Quote {
    price: number;
}

const options: ConnectOptions = {
    token: async ({ reason, signal }) => (reason === "expiring" && !signal.aborted ? "a.b.c" : null),
    WebSocket,
    backoff: { minimum: 100, maximum: 1000 },
    queue: { messages: 10 },
    signal: new AbortController().signal,
};
const hermes: Hermes = connect("wss://host", options);
connect();
connect({ url: new URL("wss://host"), token: "a.b.c" });

const sub: Subscription<Quote> = hermes.subscribe<Quote>("stock:AAPL", (message, subscription) => {
    const price: number = message.data.price;
    const gap: Gap | undefined = message.gap;
    const raw: string = message.raw;
    subscription.unsubscribe();
    void [price, gap, raw];
}, { replay: 10, policy: "latest", presence: true });
const position: Position | undefined = sub.position;
hermes.subscribe("t", { since: position });
hermes.subscribe("t", { since: null });
sub.on("gap", ({ from, to, recovered }) => void [from, to, recovered]);
sub.on("gap", ({ epoch, pattern, reason }) => void [epoch?.length, pattern?.length, reason === "cluster"]);
sub.on("join", ({ client }) => client.length);

async function use() {
    for await (const message of hermes.subscribe<Quote>({ pattern: "stock:*" }, { buffer: 10 })) {
        const typed: Message<Quote> = message;
        hermes.subscribe(message.topic, { since: message.epoch === undefined ? null : { epoch: message.epoch, offset: 1 } });
        return typed.data.price;
    }
    const published: Published = await hermes.publish("t", { any: ["thing"] }, { echo: false, timeout: 1000 });
    const nothing: void = await hermes.publish("t", 1, { ack: false });
    const { messages } = await hermes.history<Quote>("t", { limit: 10 });
    const { topics, next } = await hermes.topics({ prefix: "stock:" });
    const { clients } = await hermes.presence("t");
    const { expires } = await hermes.auth("a.b.c");
    const why: HermesError | undefined = await hermes.closed;
    const state: State = (await hermes.ready).state;
    await hermes.close(4000, "bye");
    return [published.offset, nothing, messages[0]?.data.price, topics[0]?.subscribers, next, clients[0], expires,
        why?.closeCode, state, afterClose(4000) === "retry"];
}
hermes.on("error", (error) => error.code === "forbidden" && error.topic);
const off: () => void = hermes.on("close", ({ code, final, delay }) => void [code, final, delay]);
void [use, off];

// @ts-expect-error: there is no such event
hermes.on("message", () => {});
// @ts-expect-error: nor such a policy
hermes.subscribe("t", { policy: "slow" });
// @ts-expect-error: an offset without its epoch
hermes.subscribe("t", { since: { offset: 1 } });
// @ts-expect-error: subscriptions are made by subscribe
new Subscription();
// @ts-expect-error: what it is made of is not exported
import { Emitter } from "../../../src/web/hermes.js";
