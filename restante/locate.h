/*
 * In which line of a settings file something stands, so that a mistake found later than by the reader
 * can be named like one found by it.
 */
#ifndef RESTANTE_LOCATE_H
#define RESTANTE_LOCATE_H

#include <stdbool.h>

#include "base/text.h"

/*
 * file: the contents. section NULL: the top level. value NULL: the line of the name; else that of this
 * item of its list, or of the name when no such item is found. 0: the name does not occur there.
 */
unsigned locate_item(struct text file, const char *section, const char *name, const char *value);

/*
 * The names of sections that begin with this prefix, each once, in order; they point into file. At most
 * `most`; what is beyond is not counted.
 */
size_t locate_sections(struct text file, struct text prefix, struct text *names, size_t most);

/* Octets from..to of the section of that name, its braces included. False: there is none. */
bool locate_section(struct text file, struct text name, size_t *from, size_t *to);

#endif
