#include "cluster/scripts.h"

#include <stddef.h>

#include "cluster/counts.h"
#include "cluster/nodes.h"

/* A topic's hash, `hermes:t:TOPIC`: e, its epoch; o, the offset of its newest message; l, that of
 * the newest one that was kept; a, not younger than its oldest message (milliseconds); b, the bytes
 * of data in the list, where its rule limits them; u, see below; and a field a broker, see
 * cluster/counts.h. Its list, `hermes:h:TOPIC`: an entry a message, 13 digits of
 * milliseconds and the frame; the last one has offset l. Where that is not o (other rules did not
 * keep messages meanwhile) or the hash is another one (the old one went without its list), it is of
 * no use any more.
 *
 * And r, the run of the server (16 digits of its run_id) that wrote it last. After a restart or a
 * failover a server may have lost what it had numbered. Then a topic must begin anew before anybody
 * publishes to it, or its numbers would be given twice; whoever is further says so when it asks for
 * positions. So a topic of another run is not published to until its brokers have had the time for
 * that, GRACE, counted from when the first of them met this run (`hermes:run`). Where brokers do
 * not know the run, an epoch of theirs is 16 digits, and 32 else.
 *
 * And w, for who comes later than that: the offset at which such a run took over, 16 digits, and
 * its r; of the last two. Of more, the first offset is with the second run: whoever was there last
 * before is taken for one who has seen what was lost. More would make another hash of it. */

#define GRACE "5000"

/* And u, where nobody needs the topic: it was published to without anybody to hear it, or whoever
 * followed it has left, and nothing is kept. Anybody can make such names, and as many as he likes;
 * so they are forgotten after UNHEARD milliseconds and not after an hour. What comes then has
 * another epoch; that is no more than what happens to any idle topic: nobody listens who could
 * mistake its offsets, and who comes back later with the old epoch is told that it has ended.
 * Whoever hears of the topic, by its name or by a pattern, or asks for its position before, takes
 * the u away, and the topic lives on as others do. */
#define UNHEARD "60000"

/* May `k`, whose r is `r`, be published to in this run? */
#define SETTLED                                                                                    \
    "local function settled(k, r, run)\n"                                                          \
    "  if run == '' or r == run then return true end\n"                                            \
    "  local t = redis.call('TIME')\n"                                                             \
    "  local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"                                        \
    "  local met = redis.call('GET', 'hermes:run')\n"                                              \
    "  if not met or string.sub(met, 1, 16) ~= run then\n"                                         \
    "    redis.call('SET', 'hermes:run', run .. string.format('%.0f', now))\n"                     \
    "    return false\n"                                                                           \
    "  end\n"                                                                                      \
    "  if now - tonumber(string.sub(met, 17)) < " GRACE " then return false end\n"                 \
    "  local p = redis.call('HMGET', k, 'o', 'w')\n"                                               \
    "  local past = p[2] or ''\n"                                                                  \
    "  if #past == 64 then past = string.sub(past, 1, 16) .. string.sub(past, 49) end\n"           \
    "  past = past .. string.format('%016x', p[1] or '0') .. run\n"                                \
    "  redis.call('HSET', k, 'r', run, 'w', past)\n"                                               \
    "  return true\n"                                                                              \
    "end\n"                                                                                        \
    "local wait = 'WAIT for all brokers to say how far they have come'\n"

/* Numbers messages that nobody keeps, and publishes them.
 *
 * KEYS: the hash.
 * ARGV: how many; an epoch, if the topic has none; milliseconds until an idle topic is forgotten;
 *   1: the subscribers are wanted; three channels; the payload behind the place.
 * Answers: epoch and offset of the last one, 16 digits each; or a list that begins with that and
 *   goes on with the hash's fields. */
#define NUMBER                                                                                     \
    SETTLED "local k, n, run = KEYS[1], tonumber(ARGV[1]), string.sub(ARGV[2], 17)\n"              \
            "local p = redis.call('HMGET', k, 'e', 'r', 'u')\n"                                    \
            "local e = p[1]\n"                                                                     \
            "local fresh = not e\n"                                                                \
            "if fresh then\n"                                                                      \
            "  e = string.sub(ARGV[2], 1, 16)\n"                                                   \
            "  redis.call('HSET', k, 'e', e, 'r', run)\n"                                          \
            "elseif not settled(k, p[2], run) then return redis.error_reply(wait) end\n"           \
            "local o = redis.call('HINCRBY', k, 'o', n)\n"

#define PUBLISH                                                                                    \
    "local place = e .. string.format('%016x', o - n + 1)\n"                                       \
    "local body = place .. rest\n"                                                                 \
    "local heard = redis.call('PUBLISH', ARGV[5], body) +\n"                                       \
    "  redis.call('PUBLISH', ARGV[6], body) + redis.call('PUBLISH', ARGV[7], body)\n"

#define ANSWER                                                                                     \
    "local last = e .. string.format('%016x', o)\n"                                                \
    "if ARGV[4] == '0' then return last end\n"                                                     \
    "local all = redis.call('HGETALL', k)\n"                                                       \
    "table.insert(all, 1, last)\n"                                                                 \
    "return all\n"

#define PUBLISH_ALL /* the time is not set for each of them: that costs */                         \
    NUMBER "local rest = ARGV[8]\n" PUBLISH "if heard == 0 and (fresh or p[3]) then\n"             \
           "  if fresh then redis.call('HSET', k, 'u', '1') end\n"                                 \
           "  if fresh or o % 16 < n then redis.call('PEXPIRE', k, " UNHEARD ") end\n"             \
           "else\n"                                                                                \
           "  if p[3] then redis.call('HDEL', k, 'u') end\n"                                       \
           "  if fresh or p[3] or o % 16 < n then redis.call('PEXPIRE', k, ARGV[3]) end\n"         \
           "end\n" ANSWER

static const char publish[] = PUBLISH_ALL;

/* The same, and keeps them.
 *
 * KEYS: the hash, the list.
 * ARGV: as above, but of the payload only what is in front of the frames; then how many messages
 *   are kept; for how many milliseconds, 0: for good; 1: the newest one stays whatever its age;
 *   of how many bytes of data together, 0: any, but the newest stays; each frame. */
#define KEEP_ALL                                                                                   \
    SETTLED "local k, n, run = KEYS[1], tonumber(ARGV[1]), string.sub(ARGV[2], 17)\n"              \
            "local p = redis.call('HMGET', k, 'e', 'o', 'l', 'r', 'b', 'u')\n"                     \
            "local h, most, age = KEYS[2], tonumber(ARGV[9]), tonumber(ARGV[10])\n"                \
            "local bytes = tonumber(ARGV[12])\n"                                                   \
            "local e = p[1]\n"                                                                     \
            "if not e then\n"                                                                      \
            "  e = string.sub(ARGV[2], 1, 16)\n"                                                   \
            "  redis.call('HSET', k, 'e', e, 'r', run)\n"                                          \
            "elseif not settled(k, p[4], run) then return redis.error_reply(wait) end\n"           \
            "if not p[1] or p[2] ~= p[3] then redis.call('DEL', h) end\n"                          \
            "local o = tonumber(p[2] or '0') + n\n"                                                \
            "local decimal = string.format('%.0f', o)\n"                                           \
            "redis.call('HSET', k, 'o', decimal, 'l', decimal)\n"                                  \
            "local t = redis.call('TIME')\n"                                                       \
            "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"                                  \
            "local stamp = string.format('%013.0f', now)\n"                                        \
            "local function data(entry)\n" /* its bytes, without stamp and head */                 \
            "  local len = #entry - 13\n"                                                          \
            "  return len < 128 and len - 2 or len < 65540 and len - 4 or len - 10\n"              \
            "end\n"                                                                                \
            "local len, sum = redis.call('LLEN', h), nil\n"                                        \
            "if bytes > 0 then\n"                                                                  \
            "  sum = len > 0 and p[1] and tonumber(p[5] or nil)\n"                                 \
            "  if not sum then\n"                                                                  \
            "    sum = 0\n"                                                                        \
            "    for i = 0, len - 1, 32 do\n"                                                      \
            "      for _, entry in ipairs(redis.call('LRANGE', h, i, i + 31)) do\n"                \
            "        sum = sum + data(entry)\n"                                                    \
            "      end\n"                                                                          \
            "    end\n"                                                                            \
            "  end\n"                                                                              \
            "elseif p[5] then redis.call('HDEL', k, 'b') end\n"                                    \
            "if p[6] then redis.call('HDEL', k, 'u') end\n"                                        \
            "local function pop()\n"                                                               \
            "  local entry = redis.call('LPOP', h)\n"                                              \
            "  if sum then sum = sum - data(entry) end\n"                                          \
            "  len = len - 1\n"                                                                    \
            "end\n"                                                                                \
            "local frames = {}\n"                                                                  \
            "for i = 13, #ARGV do\n"                                                               \
            "  local entry = stamp .. ARGV[i]\n"                                                   \
            "  frames[#frames + 1] = ARGV[i]\n"                                                    \
            "  len = redis.call('RPUSH', h, entry)\n"                                              \
            "  if sum then sum = sum + data(entry) end\n"                                          \
            "end\n"                                                                                \
            "if sum then\n"                                                                        \
            "  while len > most or len > 1 and sum > bytes do pop() end\n"                         \
            "elseif len > most then\n"                                                             \
            "  redis.call('LTRIM', h, -most, -1)\n"                                                \
            "  len = most\n"                                                                       \
            "end\n"                                                                                \
            "if age == 0 or ARGV[11] == '1' then\n"                                                \
            "  redis.call('PERSIST', k)\n"                                                         \
            "  redis.call('PERSIST', h)\n"                                                         \
            "else\n"                                                                               \
            "  redis.call('PEXPIRE', h, age)\n"                                                    \
            "  redis.call('PEXPIRE', k, age + ARGV[3])\n"                                          \
            "end\n"                                                                                \
            "if age > 0 then\n"                                                                    \
            "  local a = tonumber(redis.call('HGET', k, 'a') or '0')\n"                            \
            "  if now - a >= age then\n"                                                           \
            "    local oldest = now\n"                                                             \
            "    while len > n do\n"                                                               \
            "      oldest = tonumber(string.sub(redis.call('LINDEX', h, 0), 1, 13))\n"             \
            "      if now - oldest < age then break end\n"                                         \
            "      pop()\n"                                                                        \
            "      oldest = now\n"                                                                 \
            "    end\n"                                                                            \
            "    redis.call('HSET', k, 'a', string.format('%.0f', oldest))\n"                      \
            "  end\n"                                                                              \
            "end\n"                                                                                \
            "if sum then redis.call('HSET', k, 'b', string.format('%.0f', sum)) end\n"             \
            "local rest = ARGV[8] .. table.concat(frames)\n" PUBLISH ANSWER

static const char keep[] = KEEP_ALL;

/* Each of both once more, for a message that is to be published once, whatever becomes of the
 * answer and by whichever broker it is asked for again. `hermes:i:KEY`: what was answered, and the
 * topic; for ONCE milliseconds.
 *
 * KEYS, ARGV: as above; the last key is that one.
 * Answers: as above. If it was published before: a list of what `hermes:i:KEY` is, and the fields
 *   of that topic's hash. */
#define ONCE "300000"

#define ONLY_ONCE(script)                                                                          \
    "local before = redis.call('GET', KEYS[#KEYS])\n"                                              \
    "if before then\n"                                                                             \
    "  local all = redis.call('HGETALL', 'hermes:t:' .. string.sub(before, 33))\n"                 \
    "  table.insert(all, 1, before)\n"                                                             \
    "  return all\n"                                                                               \
    "end\n"                                                                                        \
    "local function first()\n" script "end\n"                                                      \
    "local answer = first()\n"                                                                     \
    "local place = answer\n"                                                                       \
    "if type(answer) == 'table' then place = answer[1] end\n" /* or it is an error */              \
    "if place then\n"                                                                              \
    "  redis.call('SET', KEYS[#KEYS], place .. string.sub(KEYS[1], 10), 'PX', " ONCE ")\n"         \
    "end\n"                                                                                        \
    "return answer\n"

static const char publish_once[] = ONLY_ONCE(PUBLISH_ALL);
static const char keep_once[] = ONLY_ONCE(KEEP_ALL);

/* Where topics are; those that are not there begin.
 *
 * KEYS: hashes.
 * ARGV: milliseconds until an idle one is forgotten; an epoch for each.
 * Answers: for each its epoch, its offset in decimal, and w. */
static const char positions[] = "local out = {}\n"
                                "for i, k in ipairs(KEYS) do\n"
                                "  local p = redis.call('HMGET', k, 'e', 'o', 'u', 'w')\n"
                                "  if not p[1] then\n"
                                "    p = {string.sub(ARGV[i + 1], 1, 16), '0'}\n"
                                "    local run = string.sub(ARGV[i + 1], 17)\n"
                                "    redis.call('HSET', k, 'e', p[1], 'o', p[2], 'r', run)\n"
                                "    redis.call('PEXPIRE', k, ARGV[1])\n"
                                "  else\n"
                                "    if p[3] then redis.call('HDEL', k, 'u') end\n"
                                "    local left = redis.call('PTTL', k)\n"
                                "    if left >= 0 and left < tonumber(ARGV[1]) then\n"
                                "      redis.call('PEXPIRE', k, ARGV[1])\n"
                                "    end\n"
                                "  end\n"
                                "  out[3 * i - 2] = p[1]\n"
                                "  out[3 * i - 1] = p[2] or '0'\n"
                                "  out[3 * i] = p[4] or ''\n"
                                "end\n"
                                "return out\n";

/* Lets a topic begin anew whose server has lost messages that it had numbered: what comes would
 * have numbers that others have had.
 *
 * KEYS: the hash, the list.
 * ARGV: the epoch that it has; the offset it had come to (the greatest there is, where it has come
 *   there again since, with others); another epoch; milliseconds as above.
 * Answers: its epoch, and its offset in decimal. */
static const char renew[] =
    "local p = redis.call('HMGET', KEYS[1], 'e', 'o')\n"
    "if p[1] and (p[1] ~= ARGV[1] or tonumber(p[2]) >= tonumber(ARGV[2])) then return p end\n"
    "redis.call('DEL', KEYS[1], KEYS[2])\n"
    "local e = string.sub(ARGV[3], 1, 16)\n"
    "redis.call('HSET', KEYS[1], 'e', e, 'o', '0', 'r', string.sub(ARGV[3], 17))\n"
    "redis.call('PEXPIRE', KEYS[1], ARGV[4])\n"
    "return {e, '0'}\n";

/* What is kept.
 *
 * KEYS: the hash, the list.
 * ARGV: offset of the first one that is wanted, 0: the newest ones; how many at most; how many
 *   bytes, about; none of so many milliseconds or more, 0: any; 1: but the newest.
 * Answers: epoch, offset, offset of the oldest one, offset of the first one here, all but the
 *   first in decimal; and the frames. */
static const char fetch[] =
    "local p = redis.call('HMGET', KEYS[1], 'e', 'o', 'l')\n"
    "if not p[1] then return {'', '0', '1', '1'} end\n"
    "local h, o = KEYS[2], tonumber(p[2])\n"
    "local from, most, bytes, age = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), "
    "tonumber(ARGV[4])\n"
    "local len = p[2] == p[3] and redis.call('LLEN', h) or 0\n"
    "local oldest = o - len + 1\n"
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "local function old(i)\n"
    "  local entry = redis.call('LINDEX', h, i)\n"
    "  return entry and now - tonumber(string.sub(entry, 1, 13)) >= age\n"
    "end\n"
    "if age > 0 and len > 0 and old(0) then\n" /* they are in order of their age */
    "  local low, high = 0, len\n"
    "  while high - low > 1 do\n"
    "    local mid = math.floor((low + high) / 2)\n"
    "    if old(mid) then low = mid else high = mid end\n"
    "  end\n"
    "  if high == len and ARGV[5] == '1' then high = len - 1 end\n"
    "  oldest = oldest + high\n"
    "end\n"
    "if from == 0 then from = o - most + 1 end\n"
    "if from < oldest then from = oldest end\n"
    "if from > o then from = o + 1 end\n"
    "local out = {p[1], p[2], string.format('%.0f', oldest), string.format('%.0f', from)}\n"
    "local at = from - (o - len + 1)\n"
    "local step = 1\n" /* at most twice of what is asked for is read where entries are large */
    "while at < len and most > 0 and bytes > 0 do\n"
    "  step = math.min(most, step)\n"
    "  local part = redis.call('LRANGE', h, at, at + step - 1)\n"
    "  for _, entry in ipairs(part) do\n"
    "    if bytes <= 0 then break end\n"
    "    out[#out + 1] = string.sub(entry, 14)\n"
    "    bytes = bytes - #entry\n"
    "  end\n"
    "  at = at + step\n"
    "  most = most - step\n"
    "  step = math.min(2 * step, 32)\n"
    "end\n"
    "return out\n";

/* A broker does not follow a topic any more. Whoever begins to subscribes first and asks for the
 * position then, so he is counted here or puts the end off again.
 *
 * KEYS: the hash, the list.
 * ARGV: the channels of all who may hear of it.
 * Answers: 1: nobody needs it. */
static const char leave[] =
    "if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end\n"
    "local left = redis.call('PTTL', KEYS[1])\n"
    "if left <= " UNHEARD " then return 0 end\n" /* it is not there, or stays for good */
    "for i = 1, #ARGV do\n"
    "  if redis.call('PUBSUB', 'NUMSUB', ARGV[i])[2] ~= 0 then return 0 end\n"
    "end\n"
    "redis.call('HSET', KEYS[1], 'u', '1')\n"
    "redis.call('PEXPIRE', KEYS[1], " UNHEARD ")\n"
    "return 1\n";

const char *const cluster_scripts[] = {publish, keep, positions, renew, fetch, nodes_script,
    counts_script, leave, publish_once, keep_once, NULL};
