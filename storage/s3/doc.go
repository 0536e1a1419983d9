// Package s3 keeps records as objects in a bucket of AWS S3, Cloudflare R2 or another service that has S3's conditional
// writes, as a [storage.Store]. A fleet then needs no database and no disk.
//
//	store, err := s3.Open(ctx, os.Getenv("BUCKET_URL"), s3.Config{}) // s3://KEY:SECRET@bucket/prefix?region=eu-central-1
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//	m, err := certmanager.New(certmanager.Config{
//		Names:   []string{"example.com"},
//		Storage: store,
//	})
//
// A program that has a client of the AWS SDK, with the credentials of its machine's role, gives that:
//
//	settings, err := config.LoadDefaultConfig(ctx) // github.com/aws/aws-sdk-go-v2/config
//	if err != nil {
//		return err
//	}
//	store, err := s3.New(awss3.NewFromConfig(settings), s3.Config{Bucket: "bucket"})
//
// Values have private keys in them. Wrap the store in a [storage.Sealed] if those who may read the bucket must not have
// them.
//
// It is a module of its own, so that who does not use it depends on no SDK. As long as it is not published, the go.mod of a
// program needs a replacement for it beside that of the core module:
//
//	replace (
//		github.com/everseal/everseal => ../everseal
//		github.com/everseal/everseal/storage/s3 => ../everseal/storage/s3
//	)
//
// # Objects
//
// A record is one object. It begins with a line that has a random nonce, made by each Save; the rest is the value:
//
//	everseal/1 K5JZTMGPTMVFBNDNHXWYEHKWLA
//
// So no two objects are equal, and an ETag, which is a hash of the content, never returns for its key. ETags are the
// revisions.
//
// Services other than AWS may read an object's data and its ETag one after the other, between which others change it. Where the
// ETag is the MD5 of the data that shows, and the object is read again; where it is not, each read is two GETs.
//
// The object's name is the prefix, a slash, the key and an exclamation mark, which keys have not; see name.go for what
// becomes of segments of more than 200 bytes:
//
//	everseal/certificates/example.com!
//
// So the record "a" can be beside the record "a/b" also where objects are files in folders. The object !everseal names the
// version of the layout. What another version or another program has put into the folder is neither read nor overwritten.
//
// # One request
//
// A Save is one PUT: with If-None-Match: * if the record must be new, else with If-Match and the old ETag. Whether it was a
// conflict is what the service answers: 412, or 404 of a record that is gone. With 409 the service says that another
// request is under way, and asks for the same again.
//
// A request whose answer is lost, is a 5xx, or is an error under status 200, is made again with the same condition, as
// often as the client's retryer allows: three times if nothing is said. The SDK does not do it on its own, as that would
// turn a success into a conflict. What is refused is read back: an object with the nonce just made is a success, whoever has
// sent the request twice. An object of another, after a request without an answer, is neither success nor conflict:
// the error says that nobody knows. With If-None-Match: * the object is read back at once instead, but for SlowDown, which
// says that nothing was done: made again, the request would bring back what another has deleted since.
//
// # Deletion
//
// A Delete is a PUT with If-Match, too, of a tombstone in the record's place:
//
//	deleted/1 K5JZTMGPTMVFBNDNHXWYEHKWLA
//
// A tombstone has 36 bytes, a record 38 at least: so a listing tells them apart. At AWS it is removed at once, by a DELETE
// with If-Match and its ETag. R2 ignores that condition, as others do, and some evaluate it and delete a moment later, when
// another record may be there. So elsewhere tombstones stay, unless [Config].ConditionalDelete says that they need not;
// they cost a Save of the same key two requests more, and each thousand of them a LIST. While no program uses the store,
// an administrator may delete all objects of 36 bytes.
//
// # Services
//
// Before a store changes anything for the first time, it makes three or four requests that have to be refused, and refuses a
// service that ignores conditions, or has none. That they are evaluated in one step with the write shows only if writers
// race: [storage.Check] does that. Call it once for a service that is not AWS or R2.
//
// Reads must be strongly consistent, as those of AWS, R2 and one region of others are. Tigris is asked for it by a header. An
// answer from a cache, and an object that has come by replication from another bucket, are refused.
//
// # Watching
//
// [Store.Watch] lists what it watches each [Config].PollInterval, a minute if nothing is said, and compares ETags. One LIST
// has a thousand records. At AWS, where a million of them cost 5 dollars, a watch of up to a thousand records costs 22 cents
// a month for each process; every ten seconds it is 1.30 dollars, and a hundred times that for a hundred thousand records.
//
// # TLS and credentials
//
// The endpoint is asked by https unless it says http. Its certificate is verified. No error has a secret key in it, nor the
// URL that it was in.
package s3
