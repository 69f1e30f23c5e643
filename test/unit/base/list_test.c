#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct numbered {
    int number;
    struct list node;
};

static int walk(struct list *head)
{
    int digits = 0;
    struct list *last = head;
    for (struct list *node = head->next; node != head; node = node->next) {
        assert_ptr_equal(node->prev, last);
        digits = digits * 10 + LIST_ITEM(node, struct numbered, node)->number;
        last = node;
    }
    assert_ptr_equal(head->prev, last);
    return digits;
}

static void it_keeps_the_order_of_appending(void **state)
{
    (void)state;
    struct list head;
    struct numbered items[4];
    list_init(&head);
    assert_true(list_empty(&head));
    assert_int_equal(walk(&head), 0);
    for (int i = 0; i < 4; i++) {
        items[i].number = i + 1;
        list_append(&head, &items[i].node);
    }
    assert_int_equal(walk(&head), 1234);
    list_remove(&items[1].node);
    assert_int_equal(walk(&head), 134);
    list_remove(&items[3].node);
    list_remove(&items[0].node);
    assert_int_equal(walk(&head), 3);
    list_append(&head, &items[3].node);
    list_append(&head, &items[0].node);
    assert_int_equal(walk(&head), 341);
}

static void a_node_may_be_removed_twice(void **state)
{
    (void)state;
    struct list head;
    struct numbered item = {.number = 7};
    list_init(&head);
    list_append(&head, &item.node);
    list_remove(&item.node);
    assert_true(list_empty(&item.node));
    list_remove(&item.node);
    assert_true(list_empty(&head));
    list_append(&head, &item.node);
    assert_int_equal(walk(&head), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_keeps_the_order_of_appending),
        cmocka_unit_test(a_node_may_be_removed_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
