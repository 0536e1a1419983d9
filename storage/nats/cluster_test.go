package nats

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/enginetest"
	"github.com/everseal/everseal/storage/internal/server"
)

// startCluster starts three servers of one cluster.
func startCluster(t *testing.T) []*server.Server {
	t.Helper()
	var nodes []*server.Server
	var routes, ports []string
	for range 3 {
		node, err := newServer()
		server.Skip(t, err)
		t.Cleanup(node.Remove)
		port, err := server.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		nodes, ports, routes = append(nodes, node), append(ports, port), append(routes, `"nats://127.0.0.1:`+port+`"`)
	}
	errs := make(chan error, len(nodes))
	for i, node := range nodes {
		if err := configure(node, fmt.Sprintf("server_name: n%d", i),
			fmt.Sprintf(`cluster { name: three, listen: "127.0.0.1:%s", routes: [ %s ] }`, ports[i], strings.Join(routes, ", "))); err != nil {
			t.Fatal(err)
		}
		go func() { errs <- node.Start(t.Context()) }()
	}
	for range nodes {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}

// A cluster of three loses one server, which is no matter, and another: then calls fail in their time, and succeed when the servers
// are back.
func TestCluster(t *testing.T) {
	nodes := startCluster(t)
	var addresses []string
	for _, node := range nodes {
		addresses = append(addresses, node.Address())
	}
	d := target{"nats://" + strings.Join(addresses, ",") + "/mine"}
	s := d.open(t)
	enginetest.Until(t, func() (storage.Item, error) { // when there is a leader
		_, err := s.Save(t.Context(), "first", nil, "")
		return storage.Item{}, err
	})
	if warnings := s.Warnings(t.Context()); len(warnings) != 0 {
		t.Errorf("warnings of a bucket with three replicas: %v", warnings)
	}
	wantWorks(t, s, d.open(t))
	w := enginetest.StartWriters(t, s)
	w.Wait(t, 10)
	nodes[0].End(os.Kill)
	w.Wait(t, 10)
	nodes[1].End(os.Kill)
	limited, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := s.Save(limited, "b", nil, ""); err == nil {
		t.Error("a Save succeeds with one server of three")
	}
	_, err := s.Save(t.Context(), "c", nil, "")
	wanted.Want(t, err, `save "c"`)
	for _, err := range s.List(t.Context(), "") {
		if err == nil {
			continue // a leader that does not know yet answers
		}
		wanted.Want(t, err, "list")
	}
	for _, node := range nodes[:2] {
		go func() { _ = node.Start(t.Context()) }()
	}
	w.Wait(t, 10)
	w.Check(t, s)
}

// Through whichever server, a watch hears all that is changed after it has said that it listens, and readings are whole: the servers that
// do not have what was made for them learn of it later than the client.
func TestReadersOfCluster(t *testing.T) {
	nodes := startCluster(t)
	var stores []*Store
	for _, node := range nodes {
		stores = append(stores, target{"nats://" + node.Address() + "/mine"}.open(t))
	}
	enginetest.Until(t, func() (storage.Item, error) {
		_, err := stores[0].Save(t.Context(), "first", nil, "")
		return storage.Item{}, err
	})
	for round := range 30 {
		for _, s := range stores {
			w := startWatch(t.Context(), t, s, "changing")
			save(t, stores[round%len(stores)], "changing")
			w.want(t, "changing")
			w.stop()
			var keys []string
			for key, err := range s.List(t.Context(), "") {
				if err != nil {
					t.Fatal(err)
				}
				keys = append(keys, key)
			}
			if slices.Sort(keys); !slices.Equal(keys, []string{"changing", "first"}) {
				t.Fatalf("List yields %q", keys)
			}
		}
	}
}
