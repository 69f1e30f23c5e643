"""Level 1 of the Hermes protocol on Python's websockets, as Hermes was first written."""

import asyncio
import collections
import json
import sys

import websockets

INFO = json.dumps({"type": "info", "message": "Connected to HERMES WebSocket server. This is Python."})
MALFORMED = json.dumps(
    {"type": "error", "message": "Malformed message or unknown type. Expected level 1."}
)
BAD_JSON = json.dumps({"type": "error", "message": "Message must be valid JSON."})

subscribers = collections.defaultdict(set)


def answer(kind, topic, text):
    return json.dumps({"type": kind, "topic": topic, "message": text + topic})


async def handle(client, text, mine):
    try:
        message = json.loads(text)
    except ValueError:
        await client.send(BAD_JSON)
        return
    topic = message.get("topic") if isinstance(message, dict) else None
    if not isinstance(topic, str) or not topic:
        await client.send(MALFORMED)
    elif message.get("type") == "subscribe":
        subscribers[topic].add(client)
        mine.add(topic)
        await client.send(answer("ack_subscribe", topic, "Successfully subscribed to "))
    elif message.get("type") == "unsubscribe":
        leave(client, topic)
        mine.discard(topic)
        await client.send(answer("ack_unsubscribe", topic, "Successfully unsubscribed from "))
    elif "data" in message:
        if topic in subscribers:
            websockets.broadcast(subscribers[topic], json.dumps(message["data"]))
    else:
        await client.send(MALFORMED)


def leave(client, topic):
    subscribers[topic].discard(client)
    if not subscribers[topic]:
        del subscribers[topic]


async def session(client, _path=None):
    mine = set()
    try:
        await client.send(INFO)
        async for text in client:
            await handle(client, text, mine)
    except websockets.ConnectionClosed:
        pass
    finally:
        for topic in mine:
            leave(client, topic)


async def main():
    # Without pings and compression: the generators wait for their turns, and offer none.
    async with websockets.serve(
        session, "127.0.0.1", 0, ping_interval=None, compression=None, backlog=4096
    ) as server:
        print(f"listening port={server.sockets[0].getsockname()[1]}", file=sys.stderr, flush=True)
        await asyncio.Future()


asyncio.run(main())
