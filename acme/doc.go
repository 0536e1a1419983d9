// Package acme is a client of the ACME protocol (RFC 8555): the way to obtain certificates from a
// certification authority (CA) by program.
//
// It speaks the protocol and no more. It stores nothing, decides nothing and leaves no goroutine
// behind; a certificate manager, or a tool of one's own, is built on it.
//
// # Client and account
//
// A [Client] is one account at one CA. The account is identified by its key, any [crypto.Signer]; its
// URL is looked up if it is not given:
//
//	client := &acme.Client{DirectoryURL: acme.LetsEncryptStaging, Key: key}
//	account, err := client.Register(ctx, acme.Registration{
//		Contact:      []string{"mailto:admin@example.com"},
//		AgreeToTerms: true,
//	})
//
// Register again for a key that the CA knows, and it answers with the same account.
//
// # The whole way
//
// [Client.Issue] obtains a certificate: it makes an order, fetches its authorizations, has a [Solver]
// publish the answer to a challenge of each, tells the CA, polls the order, finalizes it with a
// certificate request for the key, downloads the chain and verifies it. A solver is anything with the
// methods Type, Present and CleanUp; package solver has those for http-01, tls-alpn-01 and the DNS types.
//
// A process can be killed at any moment. Issue tells Request.Before each step before taking it; who
// writes down the order's URL, the key, the proofs and the time of ActionFinalize can call Issue again with
// them, and it resumes the order from whatever state that is in, to the same certificate.
//
// # Step by step
//
// Each action of the protocol is a method of its own, named in the RFC's words: [Client.NewOrder],
// [Client.GetAuthorization], [Client.AcceptChallenge], [Client.WaitOrder], [Client.FinalizeOrder],
// [Client.GetCertificate]. Resources are plain values that refer to each other by URL.
//
// [Client.NewProof] turns a challenge into what it is answered with: a [Proof] has the key authorization,
// and [Proof.TXTRecord] the DNS record for the types that have one. A type that is answered by a payload,
// such as device-attest-01, is told to AcceptChallenge as it is. Types that nothing here knows are parsed
// and skipped.
//
// An authorization can be had ahead of orders ([Client.NewAuthorization]), and if the CA's directory
// says so it can be that of a domain above the name ([Identifier].AncestorDomain, RFC 9444).
//
// # After the certificate
//
// [Client.GetRenewalInfo] returns when the CA suggests to renew (RFC 9773), and a Request that names the
// predecessor in Replaces tells the CA what it renews. [Client.RevokeCertificate] and
// [Client.RevokeWithKey] revoke. The account's contacts, key and end are the matter of
// [Client.UpdateContact], [Client.ChangeKey] and [Client.DeactivateAccount]. What a CA does not offer is
// an error that wraps [errors.ErrUnsupported].
//
// # Errors
//
// What a CA refuses is a [*Problem], and its type an error to compare with:
//
//	errors.Is(err, acme.ErrRateLimited)
//
// An [*OrderError] says that an order is beyond help and holds an [*AuthorizationError] for each
// identifier that failed. After any other error of Issue the same order may be resumed. [IsOutage] tells a CA
// that failed from one that refused.
//
// # What CAs do
//
// Answers that are odd, late or missing cost neither an order nor a certificate if that can be helped:
//
//   - What a CA has named itself and does not find, HTTP 404, is asked for again, three times within some seconds.
//     After that the attempt fails, and the order can be resumed. One that was never finalized and is not there
//     when it is resumed is lost.
//   - An order that the CA processes for more than 45 minutes after Request.FinalizedAt is given up. So is, after a
//     day, one that is valid but whose certificate can't be had: giving it up costs a certificate.
//   - A challenge that was accepted, but that the CA seems to have forgotten, is accepted once more after about a
//     minute. The authorizations of an order that hides why it failed are asked for under all URLs that they had.
//   - Of the chain that a CA answers with, what forms the path from the first certificate is kept;
//     [Certificate].Warnings says what was left out, and why.
//   - A certificate that is over, or has not begun, by this machine's clock but not by the CA's is no reason for a
//     new order: the error says which clock is wrong.
//   - An account URL that a CA refuses, though it knows the key, is looked up again by the key.
//   - Members of resources that nothing needs may have any form; status, URLs and tokens may not.
//
// # The wire
//
// Requests are signed with the account's key and a nonce that the CA gave; nonces are pooled from
// every answer, and a request refused for its nonce is signed anew with the fresh one. A request
// that got no answer, or whose answer asks to come back within ten seconds, is tried up to three times. A
// longer wait is the caller's: it stands in [Problem].RetryAfter, or in a [*RetryAfterError] if a
// poll would be due only after the deadline. Orders are polled when the CA asks for it, but for one poll
// a moment after finalize, or else after a tenth of a second and then ever less often. Bodies, chains,
// redirects and lists that a CA sends are bounded, its URLs must be of https (http only for a directory on
// loopback), and its words are escaped in errors.
package acme
