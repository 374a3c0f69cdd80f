/*
 * The TLS layer of a stream, and what stream.c and stream_tls.c share. Nobody else includes this.
 */
#ifndef BRIDGE_STREAM_TLS_H
#define BRIDGE_STREAM_TLS_H

#include "bridge/stream.h"

extern mailstream_low_driver stream_driver;

void stream_shut(struct stream *stream);

/* Until the descriptor is ready: 1, or -1 with stream->fault. */
int stream_await(struct stream *stream, short events);

/* 0 when the peer is who it should be, else -1 with stream->fault. */
int stream_tls_handshake(struct stream *stream);
ssize_t stream_tls_read(struct stream *stream, void *octets, size_t size);
ssize_t stream_tls_write(struct stream *stream, const void *octets, size_t size);
bool stream_tls_pending(const struct stream *stream);
void stream_tls_free(struct stream *stream);

#endif
