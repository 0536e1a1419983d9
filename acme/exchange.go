package acme

import "time"

// An Exchange is one HTTP request of a [Client], and what came of it.
type Exchange struct {
	// Action is what the request was for, in the RFC's words: "directory", "newNonce", "newAccount", "account",
	// "keyChange", "orders", "newOrder", "order", "newAuthz", "authorization", "challenge", "finalize", "certificate",
	// "revokeCert" or "renewalInfo" (RFC 8555 §7.1, RFC 9773 §4.1). What a signed request needs beside it, such as a
	// nonce, is an Exchange of its own.
	Action   string
	Status   int           // of HTTP; zero: no answer came
	Duration time.Duration // until the answer was read
	Err      error         // why it failed: a *Problem that the CA sent, or another error if the answer did not come or was too large
}
