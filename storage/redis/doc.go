// Package redis keeps records in Redis or Valkey, as a [storage.Store]. The machines of a fleet then share a server, a group
// of sentinels or a cluster that is there anyway, and hear of each other's changes within a millisecond.
//
//	store, err := redis.Open(ctx, os.Getenv("REDIS_URL"), redis.Config{})
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//	m, err := certmanager.New(certmanager.Config{
//		Names:   []string{"example.com"},
//		Storage: store,
//	})
//
// A program that has a client of the driver gives that: see [New]. It imports this package by another name, such as
// redisstore. Needed is Redis 6.2 or Valkey; for a cluster Redis 7.
//
// Values have private keys in them. Wrap the store in a [storage.Sealed] if the server's administrators, or its
// backups, must not have them.
//
// It is a module of its own, so that who does not use it depends on no driver. As long as it is not published,
// the go.mod of a program needs a replacement for it beside that of the core module:
//
//	replace (
//		github.com/everseal/everseal => ../everseal
//		github.com/everseal/everseal/storage/redis => ../everseal/storage/redis
//	)
//
// # What may be lost
//
// Redis answers before a change is on a disk or with a replica. Which changes can be lost although they were acknowledged is a
// matter of its settings:
//
//   - appendonly yes with appendfsync always: none, as long as the disk is not. With everysec, those of the last second or
//     two when the machine fails; a server that is only killed loses none. With snapshots alone, those since the last one,
//     with neither of them, all: [Store.Warnings] says so.
//   - When a replica takes the master's place, by sentinels, in a cluster or by hand: those that had not reached it, which
//     is usually a few milliseconds' worth, and all that a master took that was cut off and did not know it yet. With
//     min-replicas-to-write 1 such a master stops after min-replicas-max-lag. [Config.Replicas] makes each change wait for
//     replicas (WAIT), which leaves only the case that one becomes the master that had not answered.
//
// What is lost so is lost as a whole: what is stored then is what was stored before. Nobody can change anything by a revision
// that was lost, so no record is mixed of two. But two may hold one lease for a moment, and a certificate that was obtained may
// have to be obtained again. Who can't have that takes a store that answers after a majority has it.
//
// A server that comes back empty, or is flushed, has lost everything. A store that has seen the records before answers every
// call with an error then, until its program is restarted: otherwise a fleet would order all its certificates anew at once.
//
// # Keys
//
// With the prefix "everseal" there are these keys, of version 1 of the format:
//
//	{everseal}                           "everseal 1 " and a random id: the mark
//	{everseal}:index                     a sorted set of all keys, each with the score 0
//	{everseal}/certificates/example.com  a record: 26 bytes of revision, and the value
//
// and the channels {everseal}:all and {everseal}:all/certificates, the latter for the keys with that first segment. Nothing
// expires. A server that evicts (maxmemory-policy allkeys-…) is refused if it says so; the policies volatile-… evict none of
// these.
//
// The braces are the hash tag of a cluster: it has all records in one slot, and so on one master. That is what makes one
// script and one index of several keys possible. A cluster gives a store availability, not room: a million records with
// certificates are about 10 GB, and their index 100 MB. Programs with different prefixes have different slots.
//
// List and Scan read the index by pages (ZRANGEBYLEX), in the order of the keys: for some of a million records they touch just
// these. SCAN, without an index, would walk through all keys of the server for each List, whoever's they are.
//
// # One script
//
// Each change is one Lua script, which compares the revision and writes record and index, or nothing. A Save of what exists
// touches its record alone. A revision is random and new with each Save: a script that runs twice, as by a proxy, finds
// its own, and calls that success.
//
// The driver runs again what it has no answer for, if it is not told otherwise. For these scripts it is told: one that ran again
// after another's deletion would bring a record back. What became of a Save whose answer was lost is read back. If it is
// stored, it has succeeded; else the error leaves open what happened, as [storage.Store] has it.
//
// Scripts that the server has forgotten are sent again.
//
// # Who is asked
//
// Only a master tells the truth. Load is a GETEX, a GET that counts as a write, and List and Scan have one in front of them: a
// replica refuses it, even if it was a master when the connection was made. So does a master without enough replicas, if it
// has min-replicas-to-write. [Open] refuses a replica at once.
//
// A deadline of a context ends a call at once. So does a cancellation, unless it meets the very moment in which a server that had
// answered until then stops to: then within the driver's read_timeout.
//
// # Watch
//
// Scripts publish the keys that they change (PUBLISH; in a cluster SPUBLISH, to those that listen at the slot's master).
// What is published while a connection is broken is lost, and the driver would make it anew in silence. So Watch ends with
// an error when it breaks, is made anew, or moves with its slot. Every 20 seconds it sends itself a probe by way of the master that
// takes changes: where none comes back within 10 seconds, it ends too. Who watches again reads everything after the first "".
//
// # Clusters
//
// While a slot moves to another master, Load, Save of what exists, List and Scan work on. What is new or deleted needs record
// and index in one place: it waits two seconds, and fails with TRYAGAIN as long as they are not.
//
// # Least privileges
//
// This user suffices for the prefix "everseal"; without +info nobody notices that the server evicts, and +wait is for
// Config.Replicas:
//
//	ACL SETUSER program on >password resetkeys ~{everseal}* resetchannels &{everseal}:* -@all +info +evalsha +eval +get +getex +getrange +set +del +zadd +zrem +zrangebylex +publish +subscribe +wait
//
// In a cluster, on each node, also
//
//	ACL SETUSER program +spublish +ssubscribe +cluster|slots +command +asking
//
// and +select for another database than 0. Users of sentinels are the sentinels' own.
//
// # TLS and passwords
//
// rediss:// is TLS with a certificate that can be verified: the one of each server must be for the address by which the
// program, the other nodes or the sentinels know it. redis:// is none, and [Store.Warnings] says so if the server is on
// another machine. No error has a password in it, nor the URL that it was in.
//
// The driver writes lines of its own to the standard error when a connection fails: redis.SetLogger of the driver says
// where they go.
package redis
