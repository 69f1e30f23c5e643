/* nginx with nchan: the path says the topic, a frame is a message. A publisher is told of each of
 * its messages how many got it. */
#include "dialect.h"

#include <stdio.h>
#include <string.h>

static void nchan_path(char *to, size_t size, const char *role, const char *topic)
{
    snprintf(to, size, "/%s/%s", role, topic ? topic : "none");
}

static size_t nchan_publish(unsigned char *to, const char *topic, const char *payload, size_t len)
{
    (void)topic;
    memcpy(to, payload, len);
    return len;
}

static bool nchan_item(const unsigned char *bytes, size_t have, struct item *item)
{
    *item = (struct item){.kind = ITEM_DELIVERY, .payload = bytes, .len = have, .size = have};
    return true;
}

const struct dialect dialect_nchan = {
    .name = "nchan",
    .opcode = 1,
    .one_topic_a_publisher = true,
    .publishers_are_answered = true,
    .path = nchan_path,
    .publish = nchan_publish,
    .item = nchan_item,
};
