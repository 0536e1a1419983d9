// Package storage keeps what must be remembered: certificates with their keys, accounts, answers to
// challenges, plans and budgets. Everything goes through one small interface, [Store], with one way to
// change anything: compare-and-swap. [Dir] keeps records in a folder, [Memory] in the process; other
// implementations put the same contract on a database.
//
// # Compare-and-swap
//
// Load returns a value together with its revision. Save succeeds only if that revision is still what is
// stored, and gives the value a new one; the zero revision stands for "does not exist yet". So a writer
// never overwrites what it has not seen. A revision never returns for its key: not for an equal value,
// nor after a deletion. That is what lets a writer conclude from an equal revision that nothing has
// happened in between.
//
// If the outcome of losing is to read again and do it over, [Update] does so:
//
//	storage.Update(ctx, store, "names", func(old []byte) ([]byte, error) {
//		return append(old, "example.com\n"...), nil
//	})
//
// An error that is not [ErrConflict] leaves open what happened: the connection may have broken after the value
// was stored. Who needs to know puts something unique into the value and loads it.
//
// # Leases
//
// A [Lease] lets one holder at a time work on something, in whatever process, and hands a value from
// each holder to the next: the record of how far the work has come. [Acquire] waits for one.
//
//	lease, err := storage.Acquire(ctx, store, "work/example.com", 30*time.Second)
//	if err != nil {
//		return err
//	}
//	defer lease.Release(context.WithoutCancel(ctx))
//	work(lease.Context(), lease.Value())
//
// Who has other work uses a [Claim]: it tries once, remembers between its tries what it saw, and says with a
// [HeldError] when to try again. With its Check and Take, what is to be stored first goes into the write that takes the lease.
//
// It is a record as any other: a line of JSON (owner, fence, term, a beat that is different in each write)
// and the value. These are the rules it is made of:
//
//   - The holder writes a new beat four times a term. If it has not succeeded for two thirds of the term it
//     has lost the lease, and its context ends.
//   - Others check the record now and then. Only one that has itself seen the same revision for the whole
//     term, on its own monotonic clock, may replace the owner. No two machines' clocks are ever compared.
//   - Each write names the revision before it. Of two that think they hold the lease, the rightful one is
//     the one whose writes are taken; the other gets [ErrLost]. A process can be suspended for as long as it may be.
//   - A write with an unknown outcome is read back before anything is concluded from it.
//   - A check that fails is no check: it takes nothing from what was seen before.
//   - The record is not deleted by others while it is held. Release replaces the owner with nobody and leaves value and fence;
//     SaveAndRelease changes the value in the same write.
//   - When its value is of no use any more, the holder deletes the record with the lease. A free record may be deleted by
//     its revision; [LeaseValue] reads what it carries. The fence begins at 1 again then.
//   - Terms have at most an hour; a longer one in a record counts as one.
//
// Some stores know more: a Dir can tell that an owner's process on this machine, under this boot of it, has
// died, because the kernel has freed a lock. Then the lease is free at once, and a server that was killed resumes as soon
// as it is started again.
//
// A lease saves double work. What must be correct in any case belongs into records that are
// changed by compare-and-swap, such as the lease's own value.
//
// # Keys and values
//
// Keys are textual paths of up to 512 bytes whose segments can hold any lower-case domain name or IP address, see
// [CheckKey]. A record may have others below it: "a" and "a/b" are both possible. Values are
// opaque and have at most 256 KiB; a certificate with its chain and key has about 10.
//
// # Many records
//
// [Scan] reads all records below a prefix, and from a cursor on where it was broken off. A [Watcher] tells which keys
// others have changed: as a hint, which may come late or twice. Both have to be read again: only what Load
// returns is the truth. [As] finds what a store can do besides the four methods, through wrappers too.
//
// A Dir is a Watcher: each watch has a small file, to which all writers append the keys while it lasts, and which it checks
// twice a second. That costs the same for any number of records, works between processes, and on a network file
// system as soon as that shows what others have appended. A watch whose process was killed costs nobody more than
// a few kilobytes.
//
// # At rest
//
// [Sealed] encrypts values before another store gets them, with keys that can be rotated. [Dir] relies on the
// permissions of its files without it: it makes folders that its user alone may enter, and one that was there before and
// that others may enter is a warning, see [Dir.Warnings].
//
// [Cached] keeps copies of certificates' records on the machine's own disk. Its Load, Save and Delete are those of the store
// that is copied, also while that is down; the copies, which say since when they are what they are, are asked for as what they
// are ([Copies]): a server then goes on serving what it had, and concludes nothing from it.
//
// # Other stores
//
// [Check] refuses a store that does not keep the contract, before anything is entrusted to it.
//
// An engine needs strongly consistent reads, a conditional write and a conditional delete on one key, and an
// unrepeatable revision: a number from the engine that never restarts, or a random one stored with the value.
// An engine's own expiry of records must not be used, and neither caches nor replicas for Load. A new one is
// written in this order:
//
//   - A type with the four methods. Each begins with [Admit] or, List, with [AdmitPrefix], and so refuses what every store
//     refuses. Load answers what is absent with [NotExist]; Save and Delete answer a revision that is not the stored one
//     with [Conflict]. All else is the engine's own error, wrapped with the operation and the key, without a password.
//   - Save is one conditional statement: if old is zero an insertion that fails if the key is there, else a
//     change of the row that has both key and revision. The number of rows says whether it was a conflict. The same holds
//     for Delete. A Load before it decides nothing.
//   - A driver that repeats a statement on its own turns a success into a conflict. There the revision is a random
//     one that Save has made, and a conflict is read back: if the stored revision is the one just made, it
//     was no conflict.
//   - [github.com/everseal/everseal/storage/storagetest] tests whether the contract is kept, with two handles as of two
//     processes. Run it under the race detector, and against the real server. Its Faulty is a store whose calls go wrong,
//     for tests of what is built on one.
//   - Then what the engine can do better: Scan in pages (a range of keys, not a pattern), Watch if the engine
//     pushes, [Owners] if its sessions end with their process. The suite tests these if it finds them.
package storage
