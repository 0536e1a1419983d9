package diagnose

import (
	"context"
	"net"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/dnsclient"
)

// A Vantage is from where a proof is diagnosed, and for whom. The zero value asks from this process, as the system does. A
// split-horizon set-up leads it elsewhere by DNS and Dial.
type Vantage struct {
	// DNS says how to ask the Domain Name System. Nil: as the system does.
	DNS *solver.DNS

	// Dial opens the connections to servers. The address is an IP address, which Private lets be asked, and a port.
	// [Visible] without DNS gives it names too, and where one leads is then up to Dial. Nil: a [net.Dialer] does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// CAAIdentities are the domain names of which the CA says that they mean it in CAA records: the
	// caaIdentities of its directory. Empty: CAA records that name a CA are not judged.
	CAAIdentities []string

	// Private says that the CA is on a private network itself. Names, name servers and redirects may lead to
	// private networks then, and names also to this machine. It is so without it if the CA's directory is at
	// such an address. Otherwise what leads to loopback, link-local or private addresses is not asked there,
	// wherever Dial leads: a public CA would not, and whoever has a name could see inside by it. From
	// the Internet, no redirect is ever followed to this machine or its segment.
	Private bool

	// Elsewhere are other places to look from before a CA is told, for a CA looks from several, too: other machines of
	// one's own in other networks, to which a proof and the Report of their [Before] go as JSON, or an outside service. They are
	// asked beside, ten at most, with a ctx that ends after half a minute; an error means that one could not look. If all is right
	// from those that could, what is wrong from here does not count. Their words are bounded and escaped, but believed.
	Elsewhere []func(ctx context.Context, p acme.Proof) (*Report, error)
}

// ForSolvers returns the DNS by which solvers ask from there, for their methods WithDNS: DNS itself, and with its
// Private set if that of the Vantage is. Nil: as the system does.
func (v Vantage) ForSolvers() *solver.DNS {
	if !v.Private || v.DNS != nil && v.DNS.Private {
		return v.DNS
	}
	private := new(solver.DNS)
	if v.DNS != nil {
		*private = *v.DNS
	}
	private.Private = true
	return private
}

// client returns what asks the DNS from there, in one call on behalf of the CA at a directory; ctx is the call's.
func (v Vantage) client(ctx context.Context, directory string) *dnsclient.Client {
	return dnsclient.New(ctx, (*dnsclient.Settings)(v.ForSolvers()), directory)
}
