// Package certmanager keeps a server's TLS certificates: it obtains them from a CA over ACME (RFC
// 8555), serves them in handshakes, and renews them, for as long as the server runs.
//
// # A server in five lines
//
//	m, err := certmanager.New(certmanager.Config{Names: []string{"example.com"}, AgreeToTerms: true})
//	if err != nil {
//		log.Fatal(err)
//	}
//	log.Fatal(m.Serve(ctx, &http.Server{Handler: mux}))
//
// [Manager.Serve] listens on ports 443 and 80, obtains what is missing and goes on until ctx ends. With
// a server of one's own there are [Manager.Run], which does the work, and [Manager.TLSConfig],
// [Manager.GetCertificate], [Manager.Listener] and [Manager.HTTPHandler], which join it to the server.
//
// Beside this package are pages: production.md before a server is put into service, operations.md after that, failures.md when
// something fails, and cas.md, limits.md, fleets.md, ondemand.md and compatibility.md on what their names say.
//
// # What happens
//
// [New] checks the configuration and starts nothing. Run loads each certificate from the storage, and serves what is there
// while it is still at it. From then on due times drive everything: what is missing is due at once, what is there is due
// when nine to eleven sixteenths of its lifetime have passed (eight to nine, if it lives less than ten days), so that what was
// obtained in one hour is renewed over days, and never before half of what was left when it was obtained, unless the CA says
// otherwise. Between due times nothing runs.
//
// One path obtains and renews. It takes the lease on the certificate's work in the storage, sees whether another process
// was faster, and has the first [Issuer] that can issue. Before each step that must not be repeated a record of the work
// is kept with the lease: the key, the order's URL, the answers published. A process killed at any point resumes the same
// order with the same key. The certificate is served, and stored with its key and its metadata as one record, again and again
// until the storage takes it.
//
// A failure is kept there too, with the time of the next attempt: seconds to minutes if the CA could not be reached, one,
// ten, a hundred minutes and then days if it refused, and never before the CA said. Then the next issuer is asked. What
// fails for all names alike, an outage of the CA or a refusal of the account, is found out by one of them, and the others
// wait with it. The certificate there is goes on being served.
//
// Nothing that waits holds up anything else: not for a lease, a back-off, an issuer that is down or one that hangs. What is
// due first goes by urgency: handshakes that wait, callers of Renew, certificates that have expired or soon will, new ones,
// and renewals in good time; within that, registered domains take turns.
//
// [Manager.Load] reads the storage before Run, so that a process that takes over from another serves from its first
// handshake; [Manager.Wait] waits until certificates are served, and [Manager.Settle] until nothing is due any more, for
// programs that end then.
//
// # Handshakes
//
// [Manager.GetCertificate] looks the name up in a table that is never locked: no handshake waits for storage, CA or
// another name's work, but for one whose certificate is still to be loaded, has left memory, or has expired. With several
// Config.KeyTypes there is a certificate with each, and a client is served with the first that it understands. A client that
// names nothing gets the certificate for the address it called, or for Config.DefaultName. An unknown name is left to the
// tls.Config's own certificates; a managed name that has none yet gets an error that says why.
//
// Programs beside this one that read certificates from files, such as nginx, are handed them by package deploy;
// [Manager.Export] gives chain and key in PEM.
//
// A server that moves here from another library takes over what that has with package migrate, or names the library in
// Config.Fallback: what it has is served until the manager has its own. With Config.Role several managers on one storage
// share the work: some serve, others renew.
//
// OCSP responses are not stapled: public CAs have ended them (Let's Encrypt in August 2025), and short lifetimes do what
// they were for.
//
// # When to renew
//
// CAs that have renewal information (RFC 9773: Let's Encrypt and Google, among others) are asked for each certificate that they
// have signed when to renew it. From the window that they suggest an instant is chosen at random, and kept; a window in the past
// means that it is due, which is how CAs announce that they will revoke. It is never later than when a tenth of the lifetime is
// left. An order says which certificate of the same CA's it replaces, which in its window is exempt from limits. [Status] has the window
// and the page that explains it; a renewal that is moved far ahead, or explained, is [EventRescheduled]. What goes wrong with
// it keeps nothing from being renewed by its age.
//
// One process of those on the storage asks for a certificate, as often as the CA says, usually each six hours, and keeps what
// it says in the record of work, for the others; scale.md has what that comes to. Config.RenewalInfoInterval has CAs asked
// less often, or never. Certificates obtained on demand that no client has asked for since the program started are renewed by
// their age, unless a plan is stored.
//
// # CAs
//
// Config.Issuers are asked in their order. Package acme names the directories of public CAs. All but Let's Encrypt want an
// external account; what is known of them (names and addresses that they take, terms, external accounts) New checks. To
// move to another CA, put it first and leave the former behind it: what the former has issued is served until it is due for
// renewal.
//
// Names that a CA has refused go through a dry run at its staging environment first, if one is known ([ACME].Staging): that
// costs none of the few failures which the CA grants. [LocalCA] signs by itself, for development and for internal names. An
// issuer of one's own can have all that these have: see [Issuer].
//
// How often a CA may be asked is counted in the storage, for all who share it: the limits of Let's Encrypt are known, and
// those of others, or raised ones, are set in [ACME].Limits. What a limit leaves no room for waits its turn ([ReasonBudget]),
// and holds up nothing else: new names leave some of it to renewals, and these to what is about to end (limits.md). When a CA
// refuses for a limit after all, all members know; a name that it has paused ([ReasonPaused]) stops, and the error says where to go.
//
// # On demand
//
// With Config.OnDemand, certificates are obtained for names when clients first ask for them. The
// function decides for which; there is no way to allow all of them by leaving something out. However
// many handshakes wait for a name, it is obtained once, by Run, whether or not the first of them hangs
// up. Names at work and handshakes that wait are bounded, new names by registered domain and hour, too
// (Config.MaxNewNames), and denials are remembered for a while: the client is told that the name is not recognized, and
// the log, at a bounded rate, why.
//
// Renewals need no traffic: every six hours one member of the fleet goes through what is stored, and renews what is due
// by then, also after a restart. A name that has led elsewhere for three days is not renewed until a client asks for it
// ([ReasonGone]); ondemand.md has the rest.
//
// # Fleets
//
// Processes with one storage are a fleet: one of them obtains a certificate, any of them answers the CA, all serve it. They
// have an order, and for renewals a delay of up to ten minutes, of their own, so that each mostly finds other work than the
// others. What one has obtained the others serve within seconds, if the storage tells of changes, or else at
// Config.FollowInterval. One that is killed or suspended is succeeded after a minute, and its order finished with its key.
//
// Their configurations and releases may differ; the few things that have to be the same are in fleets.md.
//
// # A storage that is down
//
// What is served goes on being served, and nothing is obtained that could not be kept. A process that starts meanwhile has
// nothing, unless its storage is a storage.Cached: then it serves the local copies, tells so ([EventCopied],
// [Status].Copied), and orders nothing before it has read what the storage has.
//
// # Memory
//
// Config.MaxLoaded bounds the certificates in memory. What no handshake has asked for lately is left to the storage, and
// read again for the next handshake, which waits for that; all else goes on as if it were there. A certificate that has
// expired, since this process could not renew it, is served only after the storage was asked, within two seconds, whether
// another has.
//
// # Proving control
//
// The CA is shown that a name leads here by tls-alpn-01, in GetCertificate, or by http-01, where Serve or
// HTTPHandler has it. A tls.Config of one's own must name [ALPNProto] in NextProtos. Answers are kept in
// the storage, so any process on it can give them. Wildcards need a DNS solver, such as solver.DNS01, in
// Config.Solvers, or for one certificate in [Subject].Solvers.
//
// The first solver that can answer for a name is used, and after a failure of its the next one: those that are given, and
// then the two that are built in. Of these tls-alpn-01 is first if Serve or Listener has port 443, else http-01 if
// HTTPHandler was called: a [Manager.TLSConfig] says nothing of the port. If none of these was called, and no handshake came so
// far, tls-alpn-01 is used only for names that no other solver proves, and for a minute no CA is asked unless its answer
// is seen: the failure says how a server is joined to the manager.
//
// Before the CA is told to validate, the manager checks itself, from [Config].Vantage: whether the name leads here, the
// answer can be seen, and CAA records let the CA issue. What it sees wrong is a warning, or with
// [PreflightRequire] a failure, as [Config].Preflight says. When the CA has failed to validate a name, the
// manager checks once more while the answer is published, and the error, the log and the event carry what
// it saw: the cause, and what to do about it.
//
// A test whose CA is an acmetest.Server has names that are in no DNS: it sets PreflightOff.
//
// # Success is quiet, failure grows loud
//
// The log has a line for each certificate that is obtained, and for those loaded at start one each, or one for all above
// ten; what clients have loaded on demand is at DEBUG. A failure is a warning that begins with its cause in plain words and
// says what to do; what was seen of the cause is at DEBUG. The first three failures in a row are told, then one in twelve
// hours, and what fails for all certificates not for each: with a CA that is down for weeks, a certificate has less than a
// hundred lines. As its end comes near (a third of the lifetime left, once renewals have failed for a thousandth of it; a
// tenth; none) there is an error with NotAfter, the attempts and since when they fail, and [EventExpiring]; the failures of
// the last tenth are errors, too.
//
// [Manager.Status] and [Manager.All] tell how each certificate stands, what comes next and why it waits, also as JSON,
// and [Manager.Stats] has the sums. [Manager.Counts] has what was counted since New: handshakes, requests to CAs, calls of the
// storage, certificates and failures, also of each of the last 30 days; [Manager.Budgets] what is left of the limits of CAs.
// Package statuspage shows people all of it on a page. Package prometheus of this module's folder (a module of its own) shows
// it to Prometheus, and messages.md there explains each line of the log.
//
// # Keys and accounts
//
// With [Config].Keys the private keys are made and kept elsewhere: in a KMS, an HSM or a TPM (package pkcs11 of this module's
// repository, for one). A reference to each is stored before it is made, and deleted with it once the last certificate
// for it has ended, so that none is forgotten. Keys are opened by the handshakes that need them, not at start.
//
// [Manager.Account] is the account with a CA: its contact and its key are changed and it is given up by one call each.
//
// # What operators do
//
// [Manager.Forget] ends management and serving at once, [Manager.Delete] deletes what is stored too, which other processes
// on the storage follow. The record of a certificate that vanishes otherwise was lost: it is served on, and obtained anew.
// [Manager.Renew] replaces a certificate now, or joins its issuance under way; [Manager.RenewAll] queues many. [Manager.Revoke] has the successor served first. [Manager.Import] takes over a certificate from elsewhere, package migrate,
// by [Manager.Transfer] and [Account.Transfer], all that another tool has, with its account.
//
// Each day, or as Config.SweepInterval says, one member of a fleet sweeps the storage: it deletes what nobody can need any
// more, and nothing that is valid or that it does not know (operations.md). With Config.SharedTickets the members seal session
// tickets with the same keys, so that clients resume their sessions behind a balancer.
//
// # What is stored
//
// Each certificate is one record, in PEM, with its key and what is known of it, at
// certificates/<issuer>/<subject>/<key type>; beside it are records of work under way, of accounts and of little else. Keys and
// formats are stable, and operations.md lists them. The issuer is [Issuer.ID], so that a staging CA's certificates never meet a
// production CA's.
package certmanager
