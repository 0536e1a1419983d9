// Package nats keeps records in a key-value bucket of NATS JetStream, as a [storage.Store]. The machines of a fleet that has NATS
// anyway need nothing else.
//
//	store, err := nats.Open(ctx, os.Getenv("NATS_URL"), nats.Config{})
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//	m, err := certmanager.New(certmanager.Config{
//		Names:   []string{"example.com"},
//		Storage: store,
//	})
//
// The URL is like nats://user:password@host1:4222,host2:4222/bucket, see [Open]. A program that has a client of
// github.com/nats-io/nats.go/jetstream gives that: see [New]. The servers must be of nats-server 2.10 or later.
//
// Values have private keys in them. Wrap the store in a [storage.Sealed] if the administrators of NATS, or other users of the
// account, must not have them.
//
// It is a module of its own, so that who does not use it does not depend on NATS' client. As long as it is not published,
// the go.mod of a program needs a replacement for it beside that of the core module:
//
//	replace (
//		github.com/everseal/everseal => ../everseal
//		github.com/everseal/everseal/storage/nats => ../everseal/storage/nats
//	)
//
// # Durability
//
// A server acknowledges a message before it is on its disk: it waits for the disk every two minutes. So ask for three replicas, on
// machines that do not fail together, and for this in each server's configuration:
//
//	jetstream { store_dir: "/var/lib/nats", sync_interval: always }
//
// [Store.Warnings] tells of fewer replicas; sync_interval can't be seen from here.
//
// # Keys and values
//
// All is in one bucket, everseal if nothing is said, which is the stream KV_everseal. This is the layout of version 1, which stands in the
// stream's metadata as everseal=1:
//
//	$KV.everseal.<key>   the value as it is; the header Nats-Msg-Id has a nonce of 26 of A-Z and 2-7
//
// In the key "/" is written as ".", and "." as "/"; a-z, 0-9, "-" and "_" stand for themselves, and any other byte is "=" with two
// hexadecimal digits. So this shows a value:
//
//	nats kv get everseal certificates.=2a/example/com --raw   # certificates/*.example.com
//
// A store makes the bucket if it is missing. One that is there and would break a promise is refused: a mirror or one with sources, direct
// gets, which replicas answer that lag behind, a history, an age, or acknowledgements before anything is stored.
//
// # One message
//
// A Save and a Delete are one message each, which the server takes if the latest of its subject has the expected sequence.
// [storage.Revision] has that and the nonce. Sequences only grow; those of a new bucket begin at the time at which it is made,
// in microseconds, and so are greater than those of one that had its name before. After a connection has broken, the server
// may have lost messages and given their sequences to others: then the nonce is compared, too, which costs a read.
//
// If the answer does not come, or is a conflict, the store reads back what is stored: its own nonce means success. What was not stored, nor
// anything after it, is sent again for three seconds. Conflict is said only if another revision is stored for certain; else the error leaves open what happened,
// as [storage.Store] has it.
//
// A Delete leaves a marker, so that watches hear of it. Markers that are older than an hour are removed when a List or Scan comes
// across them. Messages never have a TTL.
//
// # Reads
//
// Load asks the stream's leader. A leader that was cut off from the others and has not noticed yet, which takes seconds, may
// answer what is old; nothing is changed on the strength of that. List and Scan read by a consumer, page by page; it may be with a replica that
// lags, so they wait until it has come to where the leader was at their start. They remember the keys that they have yielded.
//
// # Watches
//
// Watch is a consumer that begins with the next message, without values. It ends with an error when the connection breaks, when the
// servers have lost it or are silent for four seconds, when a message is missing, and when more than 10,000 keys wait for the
// caller. Who watches again reads everything once more after the first "", as the contract has it.
//
// # Least privileges
//
// A user needs this for a bucket that there is, and to make one also publish on $JS.API.STREAM.CREATE.KV_everseal. With an
// inbox of its own (the parameter inbox) no other user of the account can read its answers, which have the values:
//
//	publish: [ "$KV.everseal.>", "$JS.API.STREAM.INFO.KV_everseal", "$JS.API.STREAM.MSG.GET.KV_everseal", "$JS.API.STREAM.PURGE.KV_everseal",
//		"$JS.API.CONSUMER.CREATE.KV_everseal.>", "$JS.API.CONSUMER.INFO.KV_everseal.>",
//		"$JS.API.CONSUMER.MSG.NEXT.KV_everseal.>", "$JS.API.CONSUMER.DELETE.KV_everseal.>" ]
//	subscribe: [ "_INBOX_program.>" ]
//
// # TLS
//
// Servers that are not on this machine must have certificates that can be verified, unless the URL says otherwise. Client
// certificates are files, which are read anew for each connection. No error has a password in it, nor the URL that it was in.
//
// # Connections
//
// There is one connection, which carries all calls, and is made again when it breaks. A call that waits for an answer then ends, as it
// does after five seconds without one. A client that was given should be made with ReconnectBufSize(-1): else it sends what was
// meant for before.
package nats
