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
// # What happens
//
// [New] checks the configuration and starts nothing. Run loads each certificate from the storage. From
// then on a queue of due times drives everything: what is missing is due at once, what is there is due
// when two thirds of its lifetime have passed (half, where it lives less than ten days), spread by a
// twenty-fourth of the lifetime. Between due times nothing runs.
//
// One path obtains and renews. It takes the lease on the certificate's work in the storage, looks
// whether another process was faster, and has the [Issuer] issue. Before each step that must not be
// repeated a journal is kept, in the lease's record: the key, the order's URL, the answers put in
// place. A process killed at any point starts again with the same order and key. The certificate is
// stored with its key and its metadata as one record, and then served.
//
// [Manager.Load] reads the storage before Run, so that a process that takes over from another serves from its first
// handshake; [Manager.Wait] waits until certificates are served.
//
// A failure is kept in the journal too, with the time of the next attempt: seconds to minutes where the
// CA could not be reached, one, ten, a hundred minutes and then days where it refused, and never before
// the CA said. The certificate there is goes on being served.
//
// # Handshakes
//
// [Manager.GetCertificate] looks the name up in a table that is never locked: no handshake waits for
// storage, CA or another name's work. A client that names nothing gets the certificate for the address
// it called, or for Config.DefaultName. An unknown name is left to the tls.Config's own certificates;
// a managed name that has none yet gets an error that says why.
//
// # On demand
//
// With Config.OnDemand, certificates are obtained for names when clients first ask for them. The
// function decides for which; there is no way to allow all of them by leaving something out. However
// many handshakes wait for a name, it is obtained once, by Run, whether or not the first of them hangs
// up. Names at work and handshakes that wait are bounded, and refusals are remembered for a while.
//
// # Proving control
//
// The CA is shown that a name leads here by tls-alpn-01, in GetCertificate, or by http-01, where Serve or
// HTTPHandler has it. A tls.Config of one's own must name [ALPNProto] in NextProtos. Answers are kept in
// the storage, so any process on it can give them. Wildcards need a DNS solver, such as solver.DNS01, in
// Config.Solvers, or for one certificate in [Subject].Solvers.
//
// The first solver that can answer for a name is used, and after a failure of its the next one. Before the
// CA is told to look, the manager looks itself, from [Config].Vantage: whether the name leads here, the
// answer can be seen, and CAA records let the CA issue. What it sees wrong is a warning, or with
// [PreflightRequire] a failure, as [Config].Preflight says. When the CA has failed to validate a name, the
// manager looks once more while the answer is in place, and the error, the log and the event carry what
// it saw: the cause, and what to do about it.
//
// A test whose CA is an acmetest.Server has names that are in no DNS: it sets PreflightOff.
//
// # Success is quiet, failure grows loud
//
// The log has a line for each certificate that is obtained, and for those loaded at start one each, or one for all above
// ten. A failure is a warning that begins with its cause in plain words and says what to do; what was seen of the cause
// is at DEBUG. The first three failures in a row are told, then one in twelve hours, and what fails for all certificates
// not for each: with a CA that is down for weeks, a certificate has less than a hundred lines. As its end comes near (a
// third of the lifetime left, a tenth, none) there is an error with NotAfter, the attempts and since when they fail, and
// [EventExpiring]; the failures of the last tenth are errors, too.
//
// [Manager.Status] and [Manager.All] tell how each certificate stands, what comes next and why it waits, also as JSON,
// and [Manager.Stats] has the sums.
//
// # What is stored
//
// Keys of records are stable:
//
//	accounts/<issuer>/default                     the account: key first, then URL
//	certificates/<issuer>/<subject>/<key type>    certificate, key and metadata, a PEM file
//	work/<issuer>/<subject>/<key type>            lease and journal
//	challenges/…                                  answers in place; see package solver
//	corrupt/<hash>/<key>                          copies of records that could not be used
//	probe/<random>                                written and deleted when Run starts
//
// The issuer is [Issuer.ID], so that a staging CA's certificates never meet a production CA's. The
// subject is the name, or with several "<first name>+<how many more>-<hash of all>".
package certmanager
