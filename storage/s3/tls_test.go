package s3

import (
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
)

// A server's certificate is verified, by the CAs that the URL names.
func TestTLS(t *testing.T) {
	program, err := server.Build("../internal/server/s3server")
	server.Skip(t, err)
	started, err := server.New(program, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(started.Remove)
	certificate, key, err := started.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	started.Arguments = []string{"-port", started.Port, "-folder", started.Folder, "-root", "root:" + rootSecret, "-certificate", certificate, "-key", key}
	if err := started.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := target{address: started.Address(), user: "root", secret: rootSecret}.with("endpoint", "https://"+started.Address())
	verified := d.with("ca", certificate).open(t)
	if _, err := verified.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		t.Fatal(err)
	}
	if err := storage.Check(t.Context(), verified); err != nil {
		t.Error(err)
	}
	asIs := func(r *http.Request, next tripper) (*http.Response, error) { return next(r) }
	_, err = through(t, d.open(t), asIs).Load(t.Context(), "a")
	wanted.Want(t, err, "x509", "give the CA")
	_, err = through(t, d.with("endpoint", "http://"+started.Address()).open(t), asIs).Load(t.Context(), "a")
	wanted.Want(t, err, "see whether")
}
