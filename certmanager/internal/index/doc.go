// Package index holds the table that a TLS handshake looks its certificate up in.
//
// # Reading
//
// [Index.Lookup] loads one pointer, to an immutable snapshot of the whole table, and only reads from there
// on: it takes no lock, allocates nothing and never waits for a writer. It makes two look-ups at most, whatever the
// name: the name itself, and what follows its first label among the wildcards. A certificate's wildcard stands for
// exactly one label, so a name of fifty labels, sent to make the server work, costs as much as any other.
//
// With a hundred thousand names hardly anything that a look-up reads is in a fast cache, and each place of memory costs more than all
// that is computed. So the names lie in tables of the package's own, with open addressing: a name's hash, the name and its value are in
// one slot, where Go's maps have a part of the hash in another line.
//
// # Writing
//
// The names are spread over tables, the shards, whose number grows with the names: a shard that is full is split in two
// by one more bit of the names' hash (extendible hashing). A writer copies the shard that its name falls into, changes
// the copy, and publishes a new snapshot that has the copy in its place and shares every other shard with the
// one before. Writers are serialized by a mutex that readers never see. Writing one name therefore costs a
// shard's length and the list of the shards, however many names there are; writing many one by one costs that for each:
// [Index.PutAll] and [Index.DeleteAll] copy each shard once. They also change what is seen in one step: a reader sees all of
// their names or none.
//
// The hash that chooses shard and slot is seeded at random for each Index, so that nobody can choose names, on a server that
// obtains certificates on demand, that crowd into one place.
//
// # Values
//
// An Index keeps its values in the slots themselves. With certificates as the values, instead of a pointer to some
// record that leads to one, a handshake touches one cache line less; with a hundred thousand names, where none of
// these lines are in a fast cache, that line costs as much as the rest of a look-up. A renewed certificate is simply
// put again under its names. A nil value may stand for a name that is known and has no certificate yet.
package index
