// Package dnsclient asks questions to DNS servers: to resolvers, and to the authoritative servers of zones.
//
// # How a question is asked
//
//	Client.Resolve --> each resolver in turn --> Client.Exchange --> UDP, or TCP --> Reply
//	Client.Zone, Nameservers --> addresses --> Client.Exchange --> UDP, or TCP --> Reply
//
// A [Client] is for one call of the package that uses it, on behalf of one CA. Resolve asks the resolvers, the next one
// if one fails or is silent for a second, and remembers what they say. Zone finds the zone of a name by its SOA record,
// Nameservers the addresses of its servers, and Exchange asks one of them. An exchange is up to three tries, each by a
// connection of its own: its port and the random ID of the question are what a forger has to guess.
//
// # What is bounded
//
// Zones are anybody's, and may lead to any number of servers. So a call has a bound on the servers that it asks, on the
// connections that are open at once and on the packets that are sent; and servers at addresses that the CA does not reach
// are not asked at all (package reach). A reply has to be to the question, and its records are counted.
//
// # Errors
//
// Errors are parts of those of the callers, who put their package's name before them. That a server gave nothing usable
// is an [*ExchangeError], that a resolver has no answer a [*Refusal], which wraps the code as an [RCodeError].
package dnsclient
