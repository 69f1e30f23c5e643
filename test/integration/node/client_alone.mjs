// hermes.js without a broker: what it does when, by a clock and sockets that the test moves.
import assert from "node:assert/strict";
import { once } from "node:events";

import { HermesError, afterClose, connect } from "../../../src/web/hermes.js";
import { Clock, Heard, client, failure, fakeSockets, next, run, settle, ws } from "./client_lib.mjs";

// A client on sockets and a clock of its own; open, unless `greet` is false.
async function alone({ greet = true, ...options } = {}) {
    const Fake = fakeSockets({ greet });
    const clock = new Clock();
    const one = connect("ws://nowhere", { WebSocket: Fake, clock, random: () => 0.5, ...options });
    const told = new Heard();
    for (const event of ["open", "close", "error", "gap", "state"])
        one.on(event, (given) => told.push([event, given]));
    await settle();
    return { Fake, clock, one, told };
}

const of = (told, event) => told.all.filter(([name]) => name === event).map(([, given]) => given);

const scenarios = {
    // Each code from a server, on a real socket.
    async close_codes() {
        const never = [1002, 1003, 1007, 4500, 4777, 4999];
        const later = [1008, 1013, 4003, 4009, 4029];
        const retry = [1000, 1001, 1009, 1011, 1012, 1014, 3000, 3999, 4000, 4001, 4002, 4008, 4400, 4499];
        const server = new ws.WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: () => "hermes.v2" });
        await once(server, "listening");
        const url = `ws://127.0.0.1:${server.address().port}/`;
        let code;
        server.on("connection", (socket) => {
            socket.send('{"type":"info","message":"Connected to HERMES WebSocket server.","client":"c"}');
            socket.close(code, "because");
        });
        for (const [fate, codes] of Object.entries({ never, later, retry }))
            for (code of codes) {
                assert.equal(afterClose(code), fate, code);
                // So slow to come back that this test is over before.
                const one = client(url, { WebSocket: ws, backoff: { minimum: 1e6, maximum: 1e9 }, random: () => 0.25 });
                const sub = one.subscribe("t", () => {});
                const end = await next(one, "close");
                assert.deepEqual([end.code, end.reason, end.final], [code, "because", fate === "never"]);
                assert.equal(one.state, fate === "never" ? "closed" : "waiting", code);
                assert.equal(sub.ended, fate === "never");
                // The first wait is up to the minimum; a longer one where the server has had enough.
                assert.equal(end.delay, { never: undefined, retry: 250_000, later: 20e6 }[fate]);
                if (fate === "never") {
                    const reason = await one.closed;
                    assert.deepEqual([reason.code, reason.closeCode], ["refused", code]);
                    assert.equal((await failure(sub.ready)).code, "refused");
                    assert.equal((await failure(one.ready)), reason);
                    assert.throws(() => one.subscribe("t"), { code: "refused" });
                }
                await one.close();
            }
        assert.deepEqual([1005, 1006, 1010, 1015].map(afterClose), ["retry", "retry", "never", "retry"]);
        server.close();
    },
    // Waits at random between nothing and a bound that doubles up to the maximum.
    async back_off() {
        for (const random of [0, 0.5, 0.999]) {
            const { Fake, clock, one } = await alone({ greet: false, random: () => random,
                backoff: { minimum: 100, maximum: 5000 } });
            for (let attempt = 0; attempt < 12; attempt++) {
                const tries = Fake.all.length;
                Fake.last.end(1006);
                await settle();
                assert.equal(one.state, random === 0 ? one.state : "waiting");
                const bound = Math.min(5000, 100 * 2 ** attempt) * random;
                if (bound > 0) {
                    await clock.move(bound - 0.001);
                    assert.equal(Fake.all.length, tries, `attempt ${attempt} too early`);
                }
                await clock.move(0.002);
                assert.equal(Fake.all.length, tries + 1, `attempt ${attempt} too late`);
            }
            // One that lasts makes it begin anew, one that does not goes on.
            for (const [ms, bound] of [[100, 5000], [6000, 100], [10, 200]]) {
                Fake.last.open();
                await settle();
                assert.equal(one.state, "open");
                await clock.move(ms);
                const end = next(one, "close");
                Fake.last.end(1006);
                assert.equal((await end).delay, bound * random);
                await clock.move(bound);
            }
            await one.close();
        }
    },
    async server_says_when() {
        const { Fake, clock, one } = await alone();
        for (const [lasts, told, delay] of [[5000, 12_345, 12_345], [5000, 0, 0], [5000, 1e12, 3_600_000],
            // One that did not last waits as long as the back-off, at least.
            [4999, 0, 125], [0, 0, 250], [0, 700, 700], [0, 700, 1000], [5000, 0, 0]]) {
            await clock.move(lasts);
            Fake.last.say({ type: "reconnect", after_ms: told });
            const end = next(one, "close");
            Fake.last.end(1001, "server is shutting down");
            assert.equal((await end).delay, delay);
            const tries = Fake.all.length;
            if (delay) await clock.move(delay - 1);
            if (delay) assert.equal(Fake.all.length, tries);
            await clock.move(1);
            assert.equal(Fake.all.length, tries + 1);
            assert.equal(one.state, "open");
        }
        // The time runs from when it was said, not from the end.
        for (const [lasts, told, served, delay] of [[5000, 10_000, 4_000, 6_000], [5000, 3_000, 3_000, 0],
            [5000, 1_000, 9_000, 0]]) {
            await clock.move(lasts);
            Fake.last.say({ type: "reconnect", after_ms: told });
            await clock.move(served);
            const end = next(one, "close");
            Fake.last.end(1012, "server is shutting down");
            assert.equal((await end).delay, delay);
            await clock.move(delay + 1);
            assert.equal(one.state, "open");
        }
        // Once: the next end is like any other.
        const end = next(one, "close");
        Fake.last.end(1006);
        assert.equal((await end).delay, 125);
        one.reconnect();
        await settle();
        assert.equal(one.state, "open");
    },
    // Where only so many are let in, those are first who were there before.
    async says_that_it_comes_back() {
        for (const [url, first, again] of [["ws://nowhere", "ws://nowhere/", "ws://nowhere/?resume=1"],
            ["ws://nowhere/x?a=b", "ws://nowhere/x?a=b", "ws://nowhere/x?a=b&resume=1"]]) {
            const Fake = fakeSockets({ greet: false });
            const clock = new Clock();
            const one = connect(url, { WebSocket: Fake, clock, random: () => 0.5 });
            await settle();
            assert.equal(Fake.last.url, first);
            Fake.last.end(1006);
            await settle();
            await clock.move(125);
            assert.equal(Fake.last.url, first, "it has not been there yet");
            Fake.last.open();
            await settle();
            for (let n = 0; n < 2; n++) {
                Fake.last.end(1006);
                await settle();
                one.reconnect();
                await settle();
                assert.equal(Fake.last.url, again);
            }
            assert.equal(one.url, first);
            await one.close();
        }
    },
    async handshake_that_hangs() {
        const { Fake, clock, one, told } = await alone({ greet: false });
        await clock.move(9_999);
        assert.equal(one.state, "connecting");
        await clock.move(1);
        assert.equal(one.state, "waiting");
        assert.deepEqual(of(told, "error").map(({ code, message }) => [code, message]),
            [["connect_failed", "No connection to ws://nowhere/: No connection in time."]]);
        await clock.move(125);
        // Open, but not a word.
        Fake.last.open({ info: false });
        await clock.move(10_000);
        assert.equal(of(told, "error").length, 2);
        assert.deepEqual(of(told, "close"), []);
        Fake.all[0].open();
        Fake.all[0].end(4500);
        assert.equal(one.state, "waiting", "what an older socket says does not count");
    },
    async heartbeat() {
        const { Fake, clock, one } = await alone();
        const socket = Fake.last;
        await clock.move(29_000);
        socket.message("t", 1);
        await clock.move(29_999);
        assert.deepEqual(socket.sent, []);
        await clock.move(1);
        const { id } = socket.take("ping");
        await clock.move(9_999);
        socket.say({ type: "pong", id });
        await clock.move(29_998);
        assert.deepEqual(socket.sent, []);
        // What was sent before the ping is still going out: a slow line, not a dead one.
        socket.bufferedAmount = 1000;
        await clock.move(2);
        socket.take("ping");
        await clock.move(9_000);
        socket.bufferedAmount = 500;
        const end = next(one, "close");
        await clock.move(1_000);
        assert.equal(one.state, "open");
        await clock.move(10_000);
        assert.equal(one.state, "waiting");
        assert.deepEqual(await end, { code: 1006, reason: "The server does not answer.", final: false, delay: 125 });
        assert.ok(socket.closedWith);
    },
    // Pages are told of the network.
    async online() {
        const page = new EventTarget();
        const listen = page.addEventListener.bind(page);
        let listeners = 0;
        globalThis.addEventListener = (event, listener, options) => {
            listeners++;
            options.signal.addEventListener("abort", () => listeners--);
            listen(event, listener, options);
        };
        globalThis.document = page;
        const { Fake, clock, one } = await alone({ backoff: { minimum: 1000, maximum: 1e6 } });
        for (let n = 0; n < 8; n++) {
            Fake.last.end(1006);
            await settle();
            if (n < 7) one.reconnect();
            await settle();
        }
        assert.equal(one.state, "waiting");
        page.dispatchEvent(new Event("online"));
        await clock.move(500);
        assert.equal(one.state, "open");
        // It may be another network now: is the server still there?
        page.visibilityState = "visible";
        page.dispatchEvent(new Event("visibilitychange"));
        Fake.last.take("ping");
        page.dispatchEvent(new Event("offline"));
        await clock.move(5_000);
        assert.equal(one.state, "waiting");
        // Who was told when to come back does.
        await clock.move(1000);
        assert.equal(one.state, "open");
        Fake.last.say({ type: "reconnect", after_ms: 60_000 });
        Fake.last.end(1001);
        page.dispatchEvent(new Event("online"));
        await clock.move(59_999);
        assert.equal(one.state, "waiting");
        await clock.move(1);
        assert.equal(one.state, "open");
        await one.close();
        assert.equal(listeners, 0);
    },
    // What is buffered in the socket is bounded: the rest waits here, in order.
    async back_pressure() {
        const { Fake, clock, one } = await alone({ queue: { messages: 3, bytes: 1000 } });
        const socket = Fake.last;
        const sent = [one.publish("t", 1)];
        socket.bufferedAmount = (1 << 20) + 1;
        sent.push(...[2, 3, 4].map((n) => one.publish("t", n)));
        assert.equal((await failure(one.publish("t", 5))).message, "Too much waits to be sent.");
        assert.deepEqual(socket.sent.map(({ data }) => data), [1]);
        await clock.move(1000);
        assert.equal(socket.sent.length, 1);
        socket.bufferedAmount = 0;
        await clock.move(25);
        assert.deepEqual(socket.sent.map(({ data }) => data), [1, 2, 3, 4]);
        for (const { id, data } of socket.sent) socket.say({ type: "ack_publish", id, topic: "t", offset: data, subscribers: 0 });
        assert.deepEqual((await Promise.all(sent)).map(({ offset }) => offset), [1, 2, 3, 4]);
        socket.bufferedAmount = 1 << 21;
        const first = one.publish("t", "x".repeat(900));
        assert.equal((await failure(one.publish("t", "x".repeat(100)))).code, "queue_full");
        // What a closing socket is given is dropped: it waits for the next one.
        socket.bufferedAmount = 0;
        socket.readyState = 2;
        await clock.move(25);
        socket.end(1006);
        await clock.move(1000);
        Fake.last.answer("publish", { offset: 5, subscribers: 0 });
        assert.equal((await first).offset, 5);
        assert.equal(await one.publish("t", 6, { ack: false }), undefined);
        assert.equal(Fake.last.take("publish").id, undefined);
    },
    // What a publish has set up to be given up is gone when it is settled, in whichever way.
    async nothing_is_left_of_a_publish() {
        const { Fake, clock, one } = await alone({ queue: { messages: 1 } });
        const stop = new AbortController();
        const listening = new Set();
        const { signal } = stop;
        signal.addEventListener = (event, listener) => listening.add(listener);
        signal.removeEventListener = (event, listener) => listening.delete(listener);
        const before = clock.timers.size;
        await one.publish("t", 1, { ack: false, signal, timeout: 6000 });
        assert.deepEqual([listening.size, clock.timers.size], [0, before], "sent, and not answered");
        const answered = one.publish("t", 2, { signal, timeout: 6000 });
        assert.deepEqual([listening.size, clock.timers.size], [1, before + 1]);
        const { id } = Fake.last.take("publish");
        Fake.last.say({ type: "ack_publish", id, topic: "t", offset: 2, subscribers: 0 });
        await answered;
        assert.deepEqual([listening.size, clock.timers.size], [0, before], "answered");
        Fake.last.readyState = 2;
        one.publish("t", 3);
        assert.equal((await failure(one.publish("t", 4, { signal, timeout: 6000 }))).code, "queue_full");
        assert.deepEqual([listening.size, clock.timers.size], [0, before], "refused");
    },
    // An iterator that is slower than its topic.
    async iterator_buffers() {
        const { Fake, clock, one } = await alone();
        const socket = Fake.last;
        const subscribe = async (topic, options) => {
            const sub = one.subscribe(topic, options);
            socket.answer("subscribe", topic.pattern ? {} : { epoch: "e", offset: 0 });
            await sub.ready;
            return [sub, sub[Symbol.asyncIterator]()];
        };
        const pull = async (iterator, n) => {
            const got = [];
            while (n-- > 0) got.push((await iterator.next()).value);
            return got;
        };
        const [, strict] = await subscribe("strict", { buffer: 3 });
        for (let n = 1; n <= 5; n++) socket.message("strict", n);
        await clock.move(0);
        assert.deepEqual((await pull(strict, 5)).map(({ offset }) => offset), [1, 2, 3, 4, 5]);
        assert.equal((await failure(strict.next())).code, "too_slow");
        assert.deepEqual(await strict.next(), { value: undefined, done: true });
        socket.take("unsubscribe");

        const [sub, oldest] = await subscribe("oldest", { buffer: 3, policy: "drop_oldest" });
        const gaps = new Heard();
        sub.on("gap", gaps.push);
        for (let n = 1; n <= 5; n++) socket.message("oldest", n);
        socket.say({ type: "gap", topic: "oldest", from: 6, to: 8 });
        socket.message("oldest", 9);
        await clock.move(0);
        const [four, , nine] = await pull(oldest, 3);
        assert.deepEqual([four.offset, four.gap], [4, { topic: "oldest", from: 1, to: 3, reason: "buffer" }]);
        assert.deepEqual([nine.offset, nine.gap], [9, { topic: "oldest", from: 6, to: 8, reason: "slow" }]);
        assert.equal(gaps.all.length, 2);

        const [, latest] = await subscribe({ pattern: "l:*" }, { buffer: 2, policy: "latest" });
        for (let n = 1; n <= 4; n++)
            for (const topic of ["l:a", "l:b"]) socket.message(topic, n, n, { pattern: "l:*" });
        await clock.move(0);
        const kept = await pull(latest, 2);
        assert.deepEqual(kept.map(({ topic, offset, gap }) => [topic, offset, gap.from, gap.to]),
            [["l:a", 4, 1, 3], ["l:b", 4, 1, 3]]);
    },
    // Left before the server has answered, and asked for again.
    async left_early() {
        const { Fake, one } = await alone();
        const first = one.subscribe("t", () => {});
        const gone = one.subscribe("t").unsubscribe();
        await gone;
        const left = first.unsubscribe();
        const heard = new Heard();
        const second = one.subscribe("t", heard.push);
        await left;
        Fake.last.answer("subscribe", { epoch: "e", offset: 0 });
        await second.ready;
        Fake.last.message("t", 1);
        assert.deepEqual(heard.data, [1]);
        assert.deepEqual(Fake.last.sent, []);
    },
    // The server is too busy to let go of a topic: nothing is forgotten of it.
    async not_left() {
        const { Fake, clock, one } = await alone();
        const first = one.subscribe("t", () => {}, { policy: "latest" });
        Fake.last.answer("subscribe", { epoch: "e", offset: 10 });
        await first.ready;
        const busy = () => {
            const { id } = Fake.last.take("unsubscribe");
            Fake.last.say({ type: "error", id, code: "rate_limited", message: "later" });
        };
        const left = first.unsubscribe();
        busy();
        // Asked for again behind the refusal.
        const second = one.subscribe("t", () => {});
        await left;
        assert.deepEqual(await second.ready, { topic: "t", epoch: "e", offset: 10 });
        assert.deepEqual(Fake.last.sent, []);
        Fake.last.message("t", 11);
        assert.deepEqual(second.position, { epoch: "e", offset: 11 });
        // Before it: with a past, and with something else to be said.
        const gone = second.unsubscribe();
        const heard = [new Heard(), new Heard()];
        const third = one.subscribe("t", heard[0].push, { since: { epoch: "e", offset: 10 }, presence: true });
        const fourth = one.subscribe("t", heard[1].push);
        Fake.last.message("t", 12);
        busy();
        await gone;
        const { id, presence, policy, since } = Fake.last.take("subscribe");
        assert.deepEqual([presence, policy, since], [true, "latest", undefined]);
        Fake.last.say({ type: "ack_subscribe", id, topic: "t", epoch: "e", offset: 12 });
        await settle();
        assert.deepEqual((await fourth.ready).epoch, "e");
        const asked = Fake.last.take("history");
        assert.deepEqual(asked.since, { epoch: "e", offset: 10 });
        Fake.last.say({ type: "ack_history", id: asked.id, topic: "t", epoch: "e", offset: 12, recovered: true,
            messages: [{ offset: 11, data: 11 }, { offset: 12, data: 12 }] });
        assert.equal((await third.ready).recovered, true);
        Fake.last.message("t", 13);
        assert.deepEqual(heard.map(({ data }) => data), [[11, 12, 13], [13]]);
        Fake.last.end(1006);
        await clock.move(125);
        const again = Fake.last.take("subscribe");
        assert.deepEqual([again.since, again.policy], [{ epoch: "e", offset: 13 }, "latest"]);
        await one.close();
    },
    // A loop that keeps up loses nothing, however much comes at once.
    async iterator_bursts() {
        for (const policy of ["disconnect", "drop_oldest", "latest"]) {
            const { Fake, clock, one } = await alone();
            const socket = Fake.last;
            const take = async (options) => {
                const got = [];
                for await (const { offset, gap } of one.subscribe("t", { buffer: 3, policy, ...options })) {
                    assert.equal(gap, undefined);
                    if (got.push(offset) === 100) return got;
                }
            };
            const live = take();
            socket.answer("subscribe", { epoch: "e", offset: 0 });
            await settle();
            for (let n = 1; n <= 100; n++) socket.message("t", n);
            for (let n = 0; n < 20; n++) await settle();
            await clock.move(0);
            const expected = Array.from({ length: 100 }, (_, n) => n + 1);
            assert.deepEqual(await live, expected);
            socket.answer("unsubscribe");
            // The past, beside another subscription.
            one.subscribe("t", () => {}, { policy });
            socket.answer("subscribe", { epoch: "e", offset: 100 });
            const past = take({ since: { epoch: "e", offset: 0 } });
            const { id } = socket.take("history");
            socket.say({ type: "ack_history", id, topic: "t", epoch: "e", offset: 100, recovered: true,
                messages: expected.map((offset) => ({ offset, data: offset })) });
            for (let n = 0; n < 20; n++) await settle();
            await clock.move(0);
            assert.deepEqual(await past, expected);
            await one.close();
        }
    },
    async iterator_ends() {
        const { Fake, one } = await alone();
        const socket = Fake.last;
        const open = (options) => {
            const sub = one.subscribe("t", options);
            return [sub, sub[Symbol.asyncIterator]()];
        };
        const [first, a] = open();
        socket.answer("subscribe", { epoch: "e", offset: 0 });
        // By leaving the loop, at once and whatever the network does.
        socket.message("t", 1);
        for await (const message of first) {
            assert.equal(message.offset, 1);
            break;
        }
        assert.equal(first.ended, true);
        assert.deepEqual(await a.next(), { value: undefined, done: true });
        const leaving = socket.take("unsubscribe");
        // Subscribed again before the answer: asked for behind it.
        const stop = new AbortController();
        const [second, b] = open({ signal: stop.signal });
        assert.deepEqual(socket.sent, []);
        socket.message("t", 2);
        socket.say({ type: "ack_unsubscribe", id: leaving.id, topic: "t" });
        socket.answer("subscribe", { epoch: "e", offset: 2 });
        await second.ready;
        socket.message("t", 3);
        assert.equal((await b.next()).value.offset, 3);
        const waiting = b.next();
        stop.abort(new Error("enough"));
        assert.equal((await failure(waiting)).message, "enough");
        assert.deepEqual(await b.next(), { value: undefined, done: true });
        assert.throws(() => one.subscribe("t", { signal: stop.signal }), { message: "enough" });
        // With a callback a signal is a quiet end.
        socket.answer("unsubscribe");
        const quiet = new AbortController();
        const sub = one.subscribe("t", () => assert.fail("nothing was to come"), { signal: quiet.signal });
        const end = next(sub, "end");
        quiet.abort();
        assert.equal(await end, undefined);
        assert.equal((await failure(sub.ready)).code, "closed");
        assert.throws(() => sub[Symbol.asyncIterator](), TypeError);
        // By unsubscribe: what has come is still to be had.
        socket.answer("subscribe", { epoch: "e", offset: 3 });
        socket.answer("unsubscribe");
        const [third, c] = open();
        socket.answer("subscribe", { epoch: "e", offset: 3 });
        socket.message("t", 4);
        third.unsubscribe();
        assert.equal((await c.next()).value.offset, 4);
        assert.equal((await c.next()).done, true);
        // By the end of the client.
        const [, d] = open();
        const last = d.next();
        one.close();
        assert.deepEqual(await last, { value: undefined, done: true });
    },
    // Never twice, never backwards, whatever the server says.
    async no_message_twice() {
        const { Fake, clock, one, told } = await alone();
        let socket = Fake.last;
        const heard = new Heard();
        const sub = one.subscribe("t", heard.push, { replay: 3 });
        const { id, ...asked } = socket.take("subscribe");
        assert.deepEqual(asked, { type: "subscribe", topic: "t", replay: 3 });
        socket.message("t", 1);
        socket.say({ type: "ack_subscribe", id, topic: "t", epoch: "e", offset: 5 });
        for (const offset of [3, 4, 4, 3, 5, 6, 5]) socket.message("t", offset);
        socket.end(1006);
        assert.deepEqual(sub.position, { epoch: "e", offset: 6 });
        await clock.move(1000);
        socket = Fake.last;
        const again = socket.take("subscribe");
        assert.deepEqual(again.since, { epoch: "e", offset: 6 });
        assert.equal(again.replay, undefined);
        socket.say({ type: "ack_subscribe", id: again.id, topic: "t", epoch: "e", offset: 8, recovered: true });
        for (const offset of [6, 7, 8, 9]) socket.message("t", offset);
        assert.deepEqual(heard.data, [3, 4, 5, 6, 7, 8, 9]);
        assert.deepEqual(of(told, "gap"), []);
        // Damage ends the connection, for nobody knows what was in there.
        socket.say("{damaged");
        assert.equal(one.state, "waiting");
        await clock.move(1000);
        Fake.last.answer("subscribe", { epoch: "e", offset: 12, recovered: false });
        Fake.last.say({ type: "news", what: "unknown" });
        Fake.last.message("t", 13);
        assert.deepEqual(heard.data.slice(7), [13]);
        assert.deepEqual(heard.all.at(-1).gap, { topic: "t", from: 10, to: 12, recovered: false, reason: "reconnect" });
    },
    // Brokers that were cut off from each other tell that offsets have started anew: that is where it goes on.
    async offsets_start_anew() {
        const { Fake, clock, one, told } = await alone();
        let socket = Fake.last;
        const heard = new Heard();
        const sub = one.subscribe("t:1", heard.push);
        socket.answer("subscribe", { epoch: "e", offset: 5 });
        const by = new Heard();
        one.subscribe({ pattern: "t:*" }, by.push);
        const { id } = socket.take("subscribe");
        socket.say({ type: "ack_subscribe", id, pattern: "t:*" });
        await sub.ready;
        const loop = one.subscribe("t:1", { buffer: 2, policy: "drop_oldest" })[Symbol.asyncIterator]();
        socket.answer("subscribe", { epoch: "e", offset: 5 });
        await settle();
        socket.message("t:1", 6);
        assert.deepEqual((await loop.next()).value.gap, undefined);
        const gap = { topic: "t:1", from: 1, to: 3, epoch: "f", reason: "cluster" };
        const mine = new Heard();
        sub.on("gap", mine.push);
        socket.say({ type: "gap", topic: "t:1", from: 1, to: 3, epoch: "f" });
        assert.equal(one.state, "open");
        assert.deepEqual([of(told, "gap"), mine.all], [[gap], [gap]]);
        assert.deepEqual(sub.position, { epoch: "f", offset: 0 });
        // One that was missed, which cannot come any more, and the next, however low its offset is.
        socket.message("t:1", 3);
        socket.message("t:1", 4);
        const four = { epoch: "f", offset: 4, gap };
        const brief = ({ epoch, offset, gap }) => ({ epoch, offset, gap });
        assert.deepEqual(heard.all.slice(1).map(brief), [four]);
        assert.deepEqual(brief((await loop.next()).value), four);
        assert.deepEqual(by.all.slice(1).map(({ offset, gap }) => ({ offset, gap })), [{ offset: 4, gap }]);
        // The next connection goes on there.
        socket.end(1006);
        await clock.move(1000);
        socket = Fake.last;
        const again = socket.sent.find(({ topic }) => topic === "t:1");
        assert.deepEqual(again.since, { epoch: "f", offset: 4 });
        socket.say({ type: "ack_subscribe", id: again.id, topic: "t:1", epoch: "f", offset: 4, recovered: true });
        // None is known to be missing; and told once more, as by another way.
        for (let n = 0; n < 2; n++) {
            socket.say({ type: "gap", topic: "t:1", from: 1, to: 0, epoch: "g" });
            socket.message("t:1", 1);
        }
        assert.deepEqual(heard.all.slice(2).map(brief),
            [{ epoch: "g", offset: 1, gap: { topic: "t:1", from: 1, to: 0, epoch: "g", reason: "cluster" } }]);
        // What more is missing then, by a queue without room too, is told with it.
        socket.say({ type: "gap", topic: "t:1", from: 1, to: 2, epoch: "h" });
        socket.say({ type: "gap", topic: "t:1", from: 3, to: 4 });
        await loop.next();
        socket.message("t:1", 5);
        assert.deepEqual(heard.all.at(-1).gap, { topic: "t:1", from: 1, to: 4, epoch: "h", reason: "slow" });
        for (const offset of [6, 7, 8]) socket.message("t:1", offset);
        await clock.move(0);
        assert.deepEqual((await loop.next()).value.gap,
            { topic: "t:1", from: 1, to: 6, epoch: "h", reason: "buffer" });
        socket.say({ type: "gap", topic: "t:1", from: 1, to: 9, epoch: "i" });
        socket.end(1012);
        await clock.move(1000);
        assert.deepEqual(Fake.last.sent.find(({ topic }) => topic === "t:1").since, { epoch: "i", offset: 9 });
    },
    // What a queue had no room for does not stand in the way of where they started anew.
    async offsets_start_anew_behind_a_queue() {
        const { Fake, clock, one } = await alone();
        const socket = Fake.last;
        const loop = one.subscribe("t", { buffer: 2, policy: "drop_oldest" })[Symbol.asyncIterator]();
        socket.answer("subscribe", { epoch: "e", offset: 5 });
        await settle();
        for (const offset of [6, 7]) socket.message("t", offset);
        socket.say({ type: "gap", topic: "t", from: 8, to: 9 });
        socket.say({ type: "gap", topic: "t", from: 1, to: 3, epoch: "f" });
        for (const offset of [4, 5]) socket.message("t", offset);
        await clock.move(0);
        const { value } = await loop.next();
        assert.deepEqual([value.offset, value.gap],
            [4, { topic: "t", from: 1, to: 3, epoch: "f", reason: "cluster" }]);
        assert.equal((await loop.next()).value.gap, undefined);
    },
    // While the past is asked for, or the topic is left.
    async offsets_start_anew_meanwhile() {
        const { Fake, clock, one } = await alone();
        const socket = Fake.last;
        const first = one.subscribe("t", () => {});
        socket.answer("subscribe", { epoch: "e", offset: 5 });
        const heard = new Heard();
        const sub = one.subscribe("t", heard.push, { since: { epoch: "e", offset: 2 } });
        const old = socket.take("history");
        socket.message("t", 6);
        socket.say({ type: "gap", topic: "t", from: 1, to: 1, epoch: "f" });
        socket.message("t", 2);
        const anew = socket.take("history");
        assert.notEqual(anew.id, old.id);
        socket.say({ type: "history", id: old.id, topic: "t", epoch: "e", offset: 6, recovered: true,
            messages: [3, 4, 5, 6].map((offset) => ({ offset, data: offset })) });
        await settle();
        socket.say({ type: "history", id: anew.id, topic: "t", epoch: "f", offset: 1, recovered: false, messages: [] });
        assert.equal((await sub.ready).recovered, false);
        assert.deepEqual(heard.all.map(({ epoch, offset, gap }) => [epoch, offset, gap.reason]), [["f", 2, "reconnect"]]);

        // The server does not let go of it, and somebody has come again: it goes on where it is now.
        first.unsubscribe();
        sub.unsubscribe();
        const { id } = socket.take("unsubscribe");
        socket.say({ type: "gap", topic: "t", from: 1, to: 0, epoch: "g" });
        const third = one.subscribe("t", heard.push);
        socket.say({ type: "error", code: "rate_limited", message: "slower", id });
        await third.ready;
        socket.message("t", 1);
        assert.deepEqual([heard.all.at(-1).epoch, heard.all.at(-1).offset], ["g", 1]);
        socket.end(1006);
        await clock.move(1000);
        assert.deepEqual(Fake.last.take("subscribe").since, { epoch: "g", offset: 1 });
    },
    // What may have been missed by a pattern is told to those who subscribe by it.
    async gaps_by_pattern() {
        const { Fake, one, told } = await alone();
        const socket = Fake.last;
        const heard = { "a:*": new Heard(), "b:*": new Heard(), t: new Heard() };
        const gaps = new Heard();
        for (const pattern of ["a:*", "b:*"]) {
            one.subscribe({ pattern }, heard[pattern].push).on("gap", (gap) => gaps.push([pattern, gap]));
            const { id } = socket.take("subscribe");
            socket.say({ type: "ack_subscribe", id, pattern });
        }
        const sub = one.subscribe("a:*", heard.t.push); // the topic of that name
        socket.answer("subscribe", { epoch: "e", offset: 0 });
        await sub.ready;
        socket.say({ type: "gap", pattern: "a:*" });
        socket.say({ type: "gap", pattern: "c:*" });
        assert.equal(one.state, "open");
        const gap = { pattern: "a:*", reason: "cluster" };
        assert.deepEqual(of(told, "gap"), [gap, { pattern: "c:*", reason: "cluster" }]);
        assert.deepEqual(gaps.all, [["a:*", gap]]);
        // A gap of a topic does not stand for it.
        socket.say({ type: "gap", topic: "a:1", from: 3, to: 4 });
        for (const topic of ["a:1", "a:2", "a:1"]) socket.message(topic, 5, 5, { pattern: "a:*" });
        assert.deepEqual(heard["a:*"].all.map((message) => message.gap),
            [{ topic: "a:1", from: 3, to: 4, reason: "slow" }, gap, undefined]);
        socket.message("b:1", 5, 5, { pattern: "b:*" });
        socket.message("a:*", 1);
        assert.deepEqual([heard["b:*"].all[0].gap, heard.t.all[0].gap], [undefined, undefined]);
    },
    // A replay of which nothing had come yet is not forgotten, nor what was published meanwhile.
    async replay_cut_short() {
        const { Fake, clock, one } = await alone();
        const heard = new Heard();
        const sub = one.subscribe("t", heard.push, { replay: 2 });
        Fake.last.answer("subscribe", { epoch: "e", offset: 5 });
        await sub.ready;
        Fake.last.end(1006);
        await clock.move(1000);
        const socket = Fake.last;
        const again = socket.take("subscribe");
        assert.deepEqual([again.since, again.replay], [{ epoch: "e", offset: 5 }, undefined]);
        socket.say({ type: "ack_subscribe", id: again.id, topic: "t", epoch: "e", offset: 8, recovered: true });
        const { id, limit, since } = socket.take("history");
        assert.deepEqual([limit, since], [2, undefined]);
        for (const offset of [6, 7, 8]) socket.message("t", offset);
        socket.say({ type: "history", id, topic: "t", epoch: "e", offset: 9,
            messages: [8, 9].map((offset) => ({ offset, data: offset })) });
        await settle();
        socket.message("t", 9);
        socket.message("t", 10);
        assert.deepEqual(heard.data, [6, 7, 8, 9, 10]);
    },
    async several_at_once() {
        const { Fake, one } = await alone();
        const socket = Fake.last;
        const [a, b] = [new Heard(), new Heard()];
        const first = one.subscribe("t", a.push);
        const second = one.subscribe("t", b.push, { policy: "latest" });
        socket.answer("subscribe", { epoch: "e", offset: 0 });
        assert.deepEqual(socket.sent, [], "one subscription for both");
        // A third asks for more: the server is told, nothing begins anew.
        const third = one.subscribe("t", () => {}, { presence: true });
        const { id, ...more } = socket.take("subscribe");
        assert.deepEqual(more, { type: "subscribe", topic: "t", policy: "latest", presence: true });
        socket.message("t", 1);
        socket.say({ type: "error", code: "forbidden", message: "This topic does not tell who is there.", id, topic: "t" });
        assert.equal((await failure(third.ready)).code, "forbidden");
        assert.deepEqual([first.ended, second.ended, third.ended], [false, false, true]);
        await first.unsubscribe();
        socket.message("t", 2);
        assert.deepEqual([a.data, b.data], [[1], [1, 2]]);
        assert.deepEqual(socket.sent, []);
        const left = one.unsubscribe("t");
        socket.answer("unsubscribe");
        await left;
        socket.message("t", 3);
        assert.equal(b.all.length, 2);
    },
    // What no server says: the connection is not to be trusted any more; the program goes on.
    async damaged_frames() {
        for (const [text, state] of [["null", "open"], ["1", "open"], ["[]", "open"], ["{", "waiting"],
            ['{"type":"message"}', "waiting"], ['{"type":"message","topic":"t"}', "waiting"],
            ['{"type":"message","topic":1,"offset":1}', "waiting"], ['{"type":"gap"}', "waiting"],
            ['{"type":"gap","topic":"t","from":1}', "waiting"],
            ['{"type":"gap","topic":"t","from":1,"epoch":"f"}', "waiting"], ['{"type":"gap","pattern":1}', "waiting"], ['{"type":"join"}', "open"],
            ['{"type":"error"}', "open"], ['{"type":"info"}', "open"]]) {
            const { Fake, one } = await alone();
            one.subscribe("t", () => {});
            one.subscribe({ pattern: ">" }, () => {});
            const { id } = Fake.last.take("subscribe");
            Fake.last.say({ type: "ack_subscribe", id, pattern: ">" });
            Fake.last.answer("subscribe", { epoch: "e", offset: 0 });
            Fake.last.say(text);
            assert.equal(one.state, state, text);
            await one.close();
        }
    },
    // A callback that throws is the program's fault, and nobody else's.
    async faulty_callback() {
        const reported = new Heard();
        globalThis.reportError = reported.push;
        const { Fake, one } = await alone();
        const heard = new Heard();
        one.subscribe("t", () => { throw new Error("mine"); });
        one.subscribe("t", heard.push);
        one.on("state", () => { throw new Error("another"); });
        Fake.last.answer("subscribe", { epoch: "e", offset: 0 });
        Fake.last.message("t", 1);
        assert.deepEqual(heard.data, [1]);
        await one.close();
        assert.deepEqual(reported.all.map(({ message }) => message), ["mine", "another"]);
    },
    async refused_token() {
        // A handshake that fails says nothing: the second attempt asks by auth.
        const { Fake, clock, one } = await alone({ greet: false, token: "a.b.c" });
        assert.deepEqual(Fake.last.protocols, ["hermes.v2", "token.a.b.c"]);
        Fake.last.end(1006);
        await clock.move(125);
        assert.deepEqual(Fake.last.protocols, ["hermes.v2"]);
        one.publish("t", 1).catch(() => {});
        Fake.last.open();
        await settle();
        const { id, token } = Fake.last.take("auth");
        assert.equal(token, "a.b.c");
        assert.deepEqual(Fake.last.sent, [], "nothing is done as somebody else");
        Fake.last.say({ type: "error", id, code: "unauthorized", message: "no" });
        assert.equal((await one.closed).code, "unauthorized");
        // Passing trouble is no refusal.
        const two = await alone({ greet: false, token: "a.b.c" });
        two.Fake.last.end(1006);
        await two.clock.move(125);
        two.Fake.last.open();
        await settle();
        const asked = two.Fake.last.take("auth");
        two.Fake.last.say({ type: "error", id: asked.id, code: "rate_limited", message: "later" });
        await settle();
        assert.equal(two.one.state, "waiting");
        // 4001 with no other token to be had.
        const three = await alone({ token: "a.b.c" });
        three.Fake.last.end(4001, "token expired");
        const end = await three.one.closed;
        assert.deepEqual([end.code, end.closeCode], ["token_expired", 4001]);
        // One that no header may have goes by auth at once.
        const four = await alone({ token: "a b" });
        assert.deepEqual(four.Fake.last.protocols, ["hermes.v2"]);
        four.Fake.last.answer("auth", { expires: 1 });
        await settle();
        assert.equal(four.one.state, "open");
        // A function that fails is asked again.
        let calls = 0;
        const five = await alone({ token: () => {
            if (calls++ === 0) throw new Error("no network");
            return "a.b.c";
        } });
        assert.deepEqual(of(five.told, "error").map(({ code, cause }) => [code, cause.message]), [["token_failed", "no network"]]);
        await five.clock.move(125);
        assert.equal(five.one.state, "open");
    },
    async no_level_2() {
        const { Fake, one } = await alone({ greet: false });
        Fake.last.open({ protocol: "" });
        assert.equal((await one.closed).code, "no_level_2");
        assert.equal(one.state, "closed");
    },
    async options() {
        const fails = (code, url, options) => assert.throws(() => connect(url, { WebSocket: fakeSockets(), ...options }),
            (error) => error instanceof HermesError && error instanceof Error && error.code === code);
        fails("bad_url");
        fails("bad_url", "/relative");
        fails("bad_url", "ftp://host");
        fails("no_websocket", "ws://host", { WebSocket: 1 });
        fails("bad_option", "ws://host", { token: 1 });
        for (const name of ["connectTimeout", "heartbeat", "heartbeatTimeout", "maxMessageBytes"])
            fails("bad_option", "ws://host", { [name]: 0 });
        fails("bad_option", "ws://host", { backoff: { minimum: -1 } });
        fails("bad_option", "ws://host", { queue: { messages: "many" } });
        const stop = new AbortController();
        const { one, Fake } = await alone({ signal: stop.signal });
        for (const [target, options, code] of [["", {}, "bad_topic"], [1, {}, "bad_topic"], [undefined, {}, "bad_topic"],
            [{ topic: "a", pattern: "b" }, {}, "bad_topic"], ["t", { replay: -1 }, "bad_option"],
            ["t", { replay: 1, since: { epoch: "e", offset: 1 } }, "bad_option"], ["t", { since: { epoch: 1 } }, "bad_option"],
            [{ pattern: "a:*" }, { replay: 1 }, "bad_option"], ["t", { policy: "slow" }, "bad_option"],
            ["t", { buffer: 0 }, "bad_option"]])
            assert.throws(() => one.subscribe(target, options), { code });
        assert.deepEqual(Fake.last.sent, [], "nothing came of any of them");
        assert.equal((await failure(one.publish(1, 1))).code, "bad_topic");
        assert.equal((await failure(one.auth())).code, "bad_option");
        assert.throws(() => one.close(1001), { code: "bad_option" });
        const given_up = one.publish("t", 1, { signal: AbortSignal.abort(new Error("before")) });
        assert.equal((await failure(given_up)).message, "before");
        const closing = one.history("t");
        stop.abort();
        assert.equal(await one.closed, undefined);
        assert.equal((await failure(closing)).code, "closed");
        assert.equal(Fake.last.closedWith, 1000);
        for (const [given, url] of [["http://host/x", "ws://host/x"], ["https://host", "wss://host/"],
            [new URL("wss://host/?a=1#b"), "wss://host/?a=1"]]) {
            const to = connect(given, { WebSocket: fakeSockets({ greet: false }) });
            assert.equal(to.url, url);
            to.close();
        }
        globalThis.location = { href: "https://page.example/folder/page.html?q" };
        for (const [given, url] of [[undefined, "wss://page.example/"], ["/ws", "wss://page.example/ws"],
            ["ws", "wss://page.example/folder/ws"], [{ url: "//other" }, "wss://other/"]]) {
            const options = { WebSocket: fakeSockets({ greet: false }) };
            const to = given?.url ? connect({ ...given, ...options }) : connect(given, options);
            assert.equal(to.url, url);
            to.close();
        }
    },
    // It answers the close before it goes; a server that does not is not waited for forever.
    async close() {
        const { Fake, clock, one } = await alone();
        const socket = Fake.last;
        const published = one.publish("t", 1);
        const heard = new Heard();
        one.subscribe("t", heard.push);
        socket.answer("subscribe", { epoch: "e", offset: 0 });
        const { id } = socket.take("publish");
        socket.close = () => {};
        const closed = one.close();
        assert.equal((await failure(one.publish("t", 2))).code, "closed");
        socket.message("t", 1);
        socket.say({ type: "ack_publish", id, topic: "t", offset: 1, subscribers: 1 });
        assert.equal((await published).offset, 1);
        assert.deepEqual(heard.all, []);
        await clock.move(3000);
        await closed;
        assert.equal(one.state, "closed");
        assert.equal(one.close() instanceof Promise, true);
        assert.equal(clock.timers.size, 0, "nothing is left running");
        // The server answers; and what was to be tried again later is not.
        const quick = await alone();
        const refuse = (type, code) => quick.Fake.last.say({ type: "error", code, message: "later", id: quick.Fake.last.take(type).id });
        quick.one.subscribe("t", () => {});
        quick.Fake.last.answer("subscribe", { epoch: "e", offset: 3 });
        quick.one.subscribe("t", () => {}, { replay: 2 });
        refuse("history", "unavailable");
        quick.one.subscribe("u", () => {});
        refuse("subscribe", "unavailable");
        quick.one.subscribe("v", () => {});
        refuse("subscribe", "rate_limited");
        await settle();
        const still = quick.clock.timers.size;
        assert.ok(still >= 4, `${still} timers`);
        await quick.one.close();
        assert.equal(quick.clock.timers.size, 0, "nothing is left of what was tried again");
        // While it waits, and while it connects.
        for (const wait of [true, false]) {
            const other = await alone({ greet: false });
            if (wait) other.Fake.last.end(1006);
            await other.one.close();
            assert.equal(other.clock.timers.size, 0);
        }
        // A listener that ends it in the midst of an event.
        const last = await alone();
        last.one.on("close", () => last.one.close());
        last.Fake.last.end(1006);
        await last.one.closed;
        assert.equal(last.clock.timers.size, 0);
    },
};

await run(scenarios);
