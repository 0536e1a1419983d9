package solver

// http01Path is the path below which tokens are asked for (RFC 8555 §8.3).
const http01Path = "/.well-known/acme-challenge/"

// unreadableAnswer is what a CA is told if Storage fails.
const unreadableAnswer = "the answer to this challenge cannot be read at present"
