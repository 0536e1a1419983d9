package s3

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
)

// This server, with its ETags in files of their own, evaluates conditions, and hands out an object with the ETag of the
// next: changes get lost. Only who races sees it.
func TestCheckRefusesTornReads(t *testing.T) {
	started, err := startServer("-sidecar")
	if started != nil {
		t.Cleanup(started.Remove)
	}
	server.Skip(t, err)
	if _, err := rootOf(started).client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		t.Fatal(err)
	}
	const tries = 10
	for range tries {
		d := target{address: started.Address(), user: "root", secret: rootSecret, prefix: newPrefix()}
		err := storage.Check(t.Context(), d.open(t))
		if broken, ok := errors.AsType[*storage.ContractError](err); ok {
			t.Log(broken)
			return
		}
	}
	t.Errorf("it was found fit %d times", tries)
}
