// Package record knows how a manager's certificates, accounts and work are stored: at which keys, and as which text. It
// stores and loads nothing itself. What follows is enough to read the records by other means.
//
// # Keys
//
//	certificates/<issuer>/<subject>/<key type>   a certificate with its key
//	work/<first issuer>/<subject>/<key type>     lease of the work on it, and how far that came
//	accounts/<issuer>/default                    account with the issuer
//	accounts/<issuer>/external-<hash>            one bound to an external account (RFC 8555 §7.3.4)
//	authorities/<issuer>                         an issuer that signs by itself: its root and intermediate, with their keys
//	budgets/<issuer>/<account>/<which>/<what>    how often the CA was asked lately, see below
//	deletions/<issuer>/<subject>/<key type>      that the certificate was deleted, and not lost
//	revocations/<issuer>/<serial number>         a certificate that is to be revoked
//	corrupt/<hash>/<key>                         copy of a value found at the key, which could not be read
//	tickets/keys                                 keys of session tickets that a fleet shares
//
// Of other packages are challenges/ (package solver), and of package certmanager survey/, sweep/ and probe/: nothing is lost
// with what is there.
//
// An issuer is named by its ID, so that staging and production never meet. A key type is one such as "ecdsa-p256". A
// subject is the set of names of a certificate: of one name, that name ("example.com", "*.example.com",
// "2001:db8::1"); of more, the first of them in the order of bytes, "+", how many more there are, "-", and the hash of all
// in that order with a space between ("192.0.2.7+2-efcf3a08d1847c4f"). A hash is the first eight bytes of a SHA-256 in
// hexadecimal: of the external account's key identifier, or of the value copied.
//
// Who may obtain a subject's certificate from a chain of issuers, one after the other, works under one lease, which the
// first of them names: two processes never order from two issuers at once.
//
// # Certificate
//
// The first line is "everseal certificate", the version, and JSON in one line, with a space between. PEM follows: the
// private key (PKCS #8, "PRIVATE KEY"), the leaf, the certificates above it, and nothing else but white space. What reads
// PEM passes over the first line: openssl, or [crypto/tls.LoadX509KeyPair] with the record as both files.
//
//	everseal certificate 1 {"issuer":"…","names":["example.com"],"keyType":"ecdsa-p256","obtained":"…"}
//	-----BEGIN PRIVATE KEY-----
//	…
//	-----BEGIN CERTIFICATE-----
//
// [Meta] and [Validation] name the members of the JSON. Only issuer, names, keyType and obtained are always there. Times are in RFC 3339
// and UTC, serial numbers in hexadecimal.
//
// Version 2 is a certificate whose key is kept elsewhere: its JSON has the member keyReference, and there is no private key
// in the PEM. Version 1 has no such member.
//
// # Work
//
// The value of the lease (package storage, Lease) is JSON, or empty if no work was begun:
//
//	{"version":2,"attempts":1,"next":"…","failed":"…","error":"…","journals":{"<issuer>":{…}}}
//
// All but the version are left out where they are zero, empty, or say nothing. Of an attempt that failed, next is when
// another is due, failed is when it failed, error is why, in 4 KiB at most, kind is what kind of failure that is (a
// certmanager.FailureKind), and paused is true if the CA takes no orders before a person asks it to: out here by no issuer's fault, the last of so many attempts; in a journal by that of its
// issuer. A journal has besides
//
//	key             private key of the certificate under way: a block of PEM, as in the certificate's record
//	keyReference    where it is kept, in place of key
//	notes           what the issuer noted on how far it came, as the JSON that it gave
//	notesBase64     the same where it is not JSON, or JSON with needless white space or characters that package
//	                encoding/json escapes
//	refusals        failures by the CA's word since the last certificate
//	rotation        failures to prove control since then
//	interruptions   other failures since then, or since the last refusal
//
// The member plan is when the certificate that is served is to be renewed by its issuer's word (RFC 9773), and when that is
// asked next: [Plan] names its members. It is of the certificate alone whose issuer and serial number it has. The member absence
// says that a name obtained on demand leads elsewhere: [Absence] names its members.
//
// A key that is kept elsewhere and is not used any more is to be deleted there when nobody can serve it any longer. Until
// that is done the record has it in unusedKeys, a list of
//
//	{"keyReference":"…","delete":"…"}
//
// with the time before which it is not to be deleted, which may be missing.
//
// Version 1 is the work with one issuer alone, with a lease for each at work/<issuer>/<subject>/<key type>: the members of a
// journal and the version in one object, notes always in base64, and no reference to a key. [DecodeWork] takes the
// first issuer's over, [Work.Adopt] those of the others. Who reads version 1 alone reports a record of version 2 and
// keeps a copy of it, and works on without: at most an order is lost.
//
// # Account
//
//	{"version":1,"directory":"…","key":"…","url":"…","nextKey":"…"}
//
// The key is a block of PEM in a string. The URL (RFC 8555 §7.3) is missing until the account is registered. While its key
// is being changed (§7.3.5), nextKey is the new one, or nextKeyReference says where that is kept: the account has one
// of the two keys, and asking the CA tells which. In version 2, keyReference takes the place of key. Keys that it had
// before and that are still to be deleted where they are kept are in unusedKeys, as in the record of work. The member
// deactivated says since when the account is not to be used (§7.3.6): such a record stays, so that no other account is made
// unless somebody deletes it.
//
//	accounts/<issuer>/default/lease   the lease, with no value, of whoever changes the account or has its key made elsewhere
//
// # Budget
//
//	{"version":1,"full":"…","since":"…","corrected":"…"}
//
// A limit of the CA's is a bucket of tokens that come back evenly. It is full again at one time, and is not since another; a
// record whose bucket is full may be deleted. The member corrected says when the CA said last that the bucket is
// empty. The account is "default" or "external-<hash>", as in the account's own key. What is counted:
//
//	budgets/<issuer>/<account>/accounts             new accounts
//	budgets/<issuer>/<account>/orders               new orders
//	budgets/<issuer>/<account>/domain/<domain>      certificates for names of the registered domain, an IPv4 address or an IPv6
//	                                                network of 64 bits, of which the first address stands here
//	budgets/<issuer>/<account>/set/<hash>           certificates for exactly the same names, in order with a space between
//	budgets/<issuer>/<account>/failures/<name>      failed validations of the name, without "*."
//
// # Authority
//
//	everseal authority 1 {"permitted":["internal","10.0.0.0/8"],"excluded":["guests.internal"]}
//
// and PEM as in a certificate's record: the private key of the root, the root, the private key of the intermediate, and that.
// The JSON has the name constraints that root and intermediate were made with (RFC 5280 §4.2.1.10).
//
// # Deletion
//
//	{"version":1,"deleted":"…","obtained":"…","end":"…"}
//
// The certificate that was obtained then, or an earlier one, was deleted from its key: who finds no record there that was
// there does not take it for lost. The end is the certificate's; it is missing if its record could not be read.
//
// # Revocation
//
//	{"version":1,"issuer":"…","subject":"…","keyType":"…","key":"…","certificate":"…","reason":4,"replace":true,"requested":"…"}
//
// The certificate is DER in base64, and its key as in an account. The reason is a number (RFC 5280 §5.3.1), and missing if it is
// 0. With replace, the certificate's successor is served before it is revoked. The record is deleted when the CA has revoked
// the certificate, or that has ended.
//
// # Tickets
//
//	{"version":1,"keys":[{"key":"…","from":"…"}]}
//
// A key is 32 random bytes in base64, as [crypto/tls.Config.SetSessionTicketKeys] takes them. Tickets are sealed with it from
// a time on, until the next one's; the keys are in the order of these times.
//
// # Versions
//
// Members that are not known are passed over, and lost when the record is written anew. What they would change the meaning
// of is another version, of which this package makes a [VersionError]: the record is to be left alone. All other
// errors say what is damaged. None has the package's name in front, for each continues a sentence such as "the stored
// record … can't be used: its first line …"; none shows a private key, or more than a line of anything else.
package record
