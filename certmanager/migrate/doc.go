// Package migrate moves certificates, private keys and accounts with CAs from other tools to a [certmanager.Manager], so that a
// server changes its library without ordering anything: what is served stays the same, what the CA knows of the account
// stays with it, and each certificate is renewed when it would have been.
//
//	m, err := certmanager.New(config)
//	…
//	report, err := (&migrate.Migration{Manager: m}).Certbot(ctx, "/etc/letsencrypt")
//	fmt.Print(report)
//	…
//	err = m.Serve(ctx, server)
//
// There is one method for each tool: [Migration.Certbot], [Migration.Lego], [Migration.ACMESh], [Migration.Dehydrated],
// [Migration.CertMagic] (and Caddy), [Migration.Autocert], [Migration.Traefik], [Migration.Secrets] of Kubernetes, and
// [Migration.PEM] for any folder of PEM files. The source is only read. Let the other tool stop renewing before: two that renew
// the same names order twice.
//
// # What is taken
//
// A certificate is taken with its key if it is valid, fit for a server, and for exactly the names of one that the manager
// manages, by Config.Names or Config.Subjects, or for one name that Config.OnDemand, which is asked, allows. The latter are stored
// and take no memory until a client asks for them. Others are left, and the report says how to have them; with
// [Migration.All] they are taken too.
//
// Of two certificates for the same names the one is taken that has the kind of key that they are managed with, or else ends
// later. What the manager has obtained itself since is not replaced by what it came from, though that may end later.
//
// If the CA that signed it is one of Config.Issuers, by the URL of its directory, the certificate is from then on as if the manager
// had obtained it: renewal information (RFC 9773) is asked of that CA, and its renewal says what it replaces. Sources that do not
// name the CA are helped by [Migration.Directory]; certificates of Let's Encrypt are known without, and so is
// what it has not signed, though the source names it. What another CA has signed is served as well, and renewed by Config.Issuers
// when it is due by its age; the report says so. Certificates of CAs that are for tests only are left, unless Config.Issuers
// has that CA.
//
// For each CA among Config.Issuers, one account is taken: the one that most of the certificates were obtained with, if the source
// says that, else the one that was last changed. If the manager has another account there, that stays.
//
// # Reports
//
// The [Report] has an [Item] for each certificate and each account that was found, among those taken or those left, with the
// reason. Nothing is stored in part: a certificate is one record with its key, an account one with key and URL. A migration that
// was interrupted is resumed by doing it again, and one that is done again changes nothing.
//
// # Hostile sources
//
// Whoever can write the source can have a certificate served: that cannot be helped. They can't do more. Links are followed
// within the folder, as certbot has them, and never out of it. Files are read up to a bound, and only if they are regular ones.
// Configuration files of shells are parsed, for plain assignments, and never run. A file that is damaged is one Item, and
// the others are taken. Private keys appear neither in reports nor in errors.
package migrate
