package dnsclient

import (
	"net"
	"os"
	"testing"

	"github.com/everseal/everseal/solver/internal/reach"
)

// A CA may have a name that this machine alone knows.
func TestIsPrivateCAByTheSystem(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	addrs, err := new(net.Resolver).LookupNetIP(t.Context(), "ip", name)
	if err != nil || reach.ScopeOf(addrs[0]) == reach.Public {
		t.Skipf("the name of this machine leads to no address inside: %v, %v", addrs, err)
	}
	resolvers := New(t.Context(), &Settings{Resolvers: []string{"127.0.0.1:1"}}, "") // nobody has
	if inside, err := resolvers.isPrivateCA(t.Context(), "https://"+name+":9000/acme/acme/directory"); !inside || err != nil {
		t.Errorf("%v, %v", inside, err)
	}
}
