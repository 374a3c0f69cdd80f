/*
 * BASE_ADDRESS_SANITIZER: 1 when built with the address sanitizer, by gcc or clang.
 */
#ifndef BASE_SANITIZER_H
#define BASE_SANITIZER_H

#if defined(__SANITIZE_ADDRESS__)
#define BASE_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BASE_ADDRESS_SANITIZER 1
#endif
#endif

#ifndef BASE_ADDRESS_SANITIZER
#define BASE_ADDRESS_SANITIZER 0
#endif

#endif
