// Package statuspage shows people how the certificates of a certmanager.Manager stand: one page, and the same as JSON.
//
//	mux.Handle("/certificates", protected(statuspage.Handler(manager)))
//
// # It wants authentication in front
//
// The page has no private keys or passwords. But it lists all names, those of internal hosts among them, and says what is
// wrong with them, and where. The package does not know who may read that, and lets everybody: put it behind what the
// server's other internal pages are behind, or on a listener that only you can reach. The example of [Handler] has HTTP
// Basic authentication.
//
// # What is on it
//
// A sentence says how things are, and figures count the certificates by state. Two pictures show when certificates end in the
// next 90 days, and what was renewed and failed in the last 30. Then come the certificates: those that need attention first,
// or sorted by a column, each with its state, issuer, end, next action and age, and with the cause of its last failure and
// what to do about it. A certificate opened has the rest: all names, key, dates, how control was proved, and the window in
// which its issuer wants it renewed (RFC 9773). Below are what is under way, what waits for what, what is left of the CAs'
// limits, and counters.
//
// All of it is what this process knows, from [certmanager.Manager.All], Stats, Counts and Budgets. Nothing is kept between
// requests but the budgets, for a minute, because to read them is work for the storage.
//
// # Queries
//
// These parameters of the URL choose what is listed:
//
//	name    a part of a name; also the name that a wildcard covers
//	state   valid, renewing, obtaining, waiting, expired; or failing: the last attempt failed; or
//	        overdue: it should have been obtained or renewed by now
//	reason  what they wait for, a certmanager.Reason
//	issuer  the ID of an issuer
//	sort    name, state, issuer, expires, next or age; without it those that need attention come first
//	page    from 1
//	limit   certificates on a page, 50 unless it says otherwise and 1000 at most
//	format  json, or html
//
// JSON comes also to those who accept application/json and no HTML, and at a path that ends with ".json". It has "time",
// "stats", "counts", "budgets", "expiries" (of 90 days), "matching", "page", "pages", "limit" and "certificates", each of which is
// a [certmanager.Status] with "ready". A wrong parameter is answered with 400 and a sentence.
//
// # How it works
//
// A request goes through all certificates once, without a copy of them: those that match are kept only as far as the page that
// is asked for needs them, and the figures are counted on the way. One request does so at a time, and the others wait their turn.
//
// The page is HTML and SVG, and all of it works without JavaScript. Its one script has it refresh every ten seconds, and can be
// paused. Style and script are in the page itself, and the Content-Security-Policy names them by hash: nothing else runs or is
// loaded, whatever a name or an error contains, and html/template escapes that. It is never stored, sends no referrer, and is
// in nobody's frame.
package statuspage
