/*
 * The command `mda -d ADDRESS`: standard input becomes a message for that address, by way of the running
 * mda. Its exit status is one of sysexits.h, for .forward files, cron, fetchmail and other mail servers.
 */
#ifndef MDA_DELIVER_STDIN_H
#define MDA_DELIVER_STDIN_H

#include "mail/reply.h"

/* The whole command; the exit status. Reads descriptor 0, explains itself on standard error. */
int deliver_stdin(int argc, char **argv);

/*
 * The exit status that a reply of the server means. Whatever a later attempt may mend is EX_TEMPFAIL;
 * a status that makes callers give up comes from the server's word alone.
 */
int deliver_stdin_status(const struct reply *reply);

#endif
