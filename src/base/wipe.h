/* Takes secrets out of the vector registers, where copying and comparing leave them.
 *
 * A program's own calls may be bound when it starts; those of a library that it uses need not be.
 * The first time one of those is made, the dynamic loader puts all vector registers on the stack,
 * and there they stay. Of other machines than x86-64 nothing is wiped. */
#ifndef HERMES_BASE_WIPE_H
#define HERMES_BASE_WIPE_H

void wipe_registers(void);

#endif
