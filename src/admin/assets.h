/* The files that are built into the program: rows of admin/assets.def. */
#ifndef HERMES_ADMIN_ASSETS_H
#define HERMES_ADMIN_ASSETS_H

#include "admin/exchange.h"
#include "base/text.h"

struct asset;

/* The asset at that path, or NULL. */
const struct asset *asset_find(struct text path);

/* Its bytes, or that whoever asks has them already. */
void asset_answer(struct exchange *x, const struct asset *asset);

#endif
