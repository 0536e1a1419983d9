// Package etcd keeps records in an etcd cluster, as a [storage.Store]. The machines of a fleet that has etcd anyway need nothing
// else.
//
//	store, err := etcd.Open(ctx, os.Getenv("ETCD_URL"), etcd.Config{})
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//	m, err := certmanager.New(certmanager.Config{
//		Names:   []string{"example.com"},
//		Storage: store,
//	})
//
// The URL is like etcd://user:password@host1:2379,host2:2379/prefix, see [Open]. A program that has a client of
// go.etcd.io/etcd/client/v3 gives that: see [New]. The members must be of etcd 3.5 or later.
//
// Values have private keys in them. Wrap the store in a [storage.Sealed] if the administrators of etcd, or its
// snapshots, must not have them.
//
// It is a module of its own, so that who does not use it does not depend on etcd's client. As long as it is not published,
// the go.mod of a program needs a replacement for it beside that of the core module:
//
//	replace (
//		github.com/everseal/everseal => ../everseal
//		github.com/everseal/everseal/storage/etcd => ../everseal/storage/etcd
//	)
//
// # Keys and values
//
// All is below one prefix, everseal/ if nothing is said. This is the layout of version 1:
//
//	everseal/version         "everseal 1"
//	everseal/records/<key>   a line with a nonce, then the value as it is
//	everseal/sessions/<id>   nothing; the key goes with its lease of etcd
//
// A nonce has 26 of A-Z and 2-7. So this shows a value:
//
//	etcdctl get --print-value-only everseal/records/<key> | tail -n +2
//
// A value without a nonce was put there by hand: it is taken as it is, and can be replaced or deleted like any other. A prefix that
// has other keys, or those of another version, is refused before anything is written.
//
// A record is at most a fifth of the 1.5 MiB that etcd takes in a request by default.
//
// # One transaction
//
// A Save and a Delete are one transaction each, whose conditions are the revision at which etcd has changed the key, its
// mod revision, and the nonce. [storage.Revision] has both:
//
//	if mod_revision(key) = 1234 and value(key) begins with "KQ3V…" then put(key, …)
//
// Both are needed. Mod revisions only grow, until a cluster is restored from a snapshot: then they begin once more where the
// snapshot was, and another change may get the one that a process has seen. The nonce alone would return if somebody put back
// an old value by hand. (What begins with a nonce lies between two values, by which etcd can compare.)
//
// The client is said to repeat no transaction that it has sent; but it does so if a proxy or the member ends the call by itself. The
// store keeps it from that. If a proxy has run the transaction twice, the second finds the nonce of the first in
// the same request: that is success and no conflict.
//
// What a member refuses before it does anything (it has no leader, or too much to do) is asked once more, of another
// endpoint if there is one, for three seconds. Any other error leaves open what happened, as [storage.Store] has it.
//
// # Reads
//
// Reads are linearizable: a member asks the leader first. So one that lags, is cut off, or a learner, does not answer: it has no
// leader, or says what it is. Endpoints that turn out to be of more than one cluster are refused.
//
// List and Scan read pages, by ranges of keys, each as the cluster is then. List leaves the values with etcd.
//
// # Watches
//
// Watch is told by etcd of each change. When its connection breaks it makes another, and etcd tells what has been changed
// meanwhile, if it has not been compacted: nothing is lost. Else the watch ends with an error, and so it does when its member has no
// leader, when the cluster goes back to an earlier state, and when more than 10,000 keys wait for the caller. Who watches again
// reads everything once more after the first "", as the contract has it.
//
// # Owners of leases
//
// A store begins a session of etcd before it takes its first [storage.Lease]: a lease of etcd, which the client keeps alive, and a
// key that goes with it. If the process dies, etcd removes both when it has not heard of it for Config.SessionTTL, 20 seconds
// if nothing is said. Then others take over what it held at once, whatever its terms. Close ends the session.
//
// That is a hint, and no more: a process that was suspended, or cut off from etcd, for that long is taken for dead though it
// lives. Its next write is refused, as the record has changed, and its lease is lost. The whole cluster being away costs nobody
// the session: its leader begins to count anew.
//
// # Least privileges
//
// The program's user needs a role that may read and write below the prefix:
//
//	etcdctl role add everseal
//	etcdctl role grant-permission everseal --prefix=true readwrite everseal/
//	etcdctl user add program
//	etcdctl user grant-role program everseal
//
// A user may have a password, or be the common name of a client certificate.
//
// # TLS
//
// Members that are not on this machine must have certificates that can be verified, unless the URL says otherwise. Client
// certificates are files, which are read anew for each connection. No error has a password in it, nor the URL that it was in.
//
// # Connections
//
// There is one connection to each endpoint, which carries all calls. A silent one in use is tried after ten seconds. Calls fail at
// once if no endpoint can be reached, also on a client that was given.
package etcd
