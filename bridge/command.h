/*
 * `bridge pull NAME` and `bridge test NAME`: one session with one account, told to the terminal. Started by
 * the command restante, which hands the settings over on descriptor 3 as the supervisor would.
 */
#ifndef BRIDGE_COMMAND_H
#define BRIDGE_COMMAND_H

/* Returns the exit status (sysexits.h). */
int command_bridge(const char *verb, const char *name);

#endif
