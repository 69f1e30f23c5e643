// Level 1 of the Hermes protocol on Bun's native publish and subscribe (µWebSockets inside).
const INFO = JSON.stringify({type: "info", message: "Connected to HERMES WebSocket server. This is Bun."});
const MALFORMED = JSON.stringify({type: "error", message: "Malformed message or unknown type. Expected level 1."});
const BAD_JSON = JSON.stringify({type: "error", message: "Message must be valid JSON."});

const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request, self) {
        if (!self.upgrade(request))
            return new Response("a WebSocket is expected here\n", {status: 426});
    },
    websocket: {
        idleTimeout: 0, // the generators wait for their turns
        sendPings: false,
        perMessageDeflate: false,
        maxPayloadLength: 1 << 20,
        backpressureLimit: 1 << 30, // lose nothing: Hermes does not either
        open(ws) {
            ws.send(INFO);
        },
        message(ws, text) {
            let m;
            try {
                m = JSON.parse(text);
            } catch {
                ws.send(BAD_JSON);
                return;
            }
            const topic = m?.topic;
            if (typeof topic !== "string" || topic === "") {
                ws.send(MALFORMED);
            } else if (m.type === "subscribe") {
                ws.subscribe(topic);
                ws.send(JSON.stringify({type: "ack_subscribe", topic, message: `Successfully subscribed to ${topic}`}));
            } else if (m.type === "unsubscribe") {
                ws.unsubscribe(topic);
                ws.send(JSON.stringify({type: "ack_unsubscribe", topic, message: `Successfully unsubscribed from ${topic}`}));
            } else if ("data" in m) {
                server.publish(topic, JSON.stringify(m.data));
            } else {
                ws.send(MALFORMED);
            }
        },
    },
});

console.error(`bun ${Bun.version} listening port=${server.port}`);
