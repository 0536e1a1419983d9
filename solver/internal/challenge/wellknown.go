package challenge

// HTTP01Path is the path below which tokens are asked for (RFC 8555 §8.3).
const HTTP01Path = "/.well-known/acme-challenge/"

// UnreadableAnswer is what a CA is told if Storage fails.
const UnreadableAnswer = "the answer to this challenge cannot be read at present"
