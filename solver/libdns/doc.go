// Package libdns makes DNS challenges work by any DNS provider of libdns (github.com/libdns), version 1.1 of its
// interfaces and later.
//
//	dns01 := &solver.DNS01{
//		Provider: libdns.New(&cloudflare.Provider{APIToken: os.Getenv("CLOUDFLARE_API_TOKEN")}),
//	}
//
// The token is one for Cloudflare's API that may edit the zone's DNS; other providers have fields of their own.
//
// It is a module of its own, so that who does not use it depends on nothing more. As long as it is not published,
// the go.mod of a program needs a replacement for it beside that of the core module:
//
//	replace (
//		github.com/everseal/everseal => ../everseal
//		github.com/everseal/everseal/solver/libdns => ../everseal/solver/libdns
//	)
//
// # What is asked of a provider
//
// A provider must be able to append records to a zone and to delete them: it is a RecordAppender and a
// RecordDeleter of libdns, as nearly all are. Names are given to it relative to their zone, and zones with a
// final dot. The zone is the one that the solver has found by its SOA record, or that its field Zone names.
//
// A record is deleted by its name, type and text, whatever time to live it has by then: services raise one that
// is too short for them. Other records at the name stay.
//
// # What is made up for
//
// A record that is there already is no error to a solver, as an order may be gone on with after a crash. Some
// services refuse to append it once more. Where the provider can list a zone too (RecordGetter), it is asked
// whether the record is there before such a refusal is an error.
package libdns
