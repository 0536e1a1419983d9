//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package deploy_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/deploy"
	"github.com/everseal/everseal/storage"
)

// A program hands its certificate out to nginx, here in a folder of its own, with a command that shows what it is told.
func ExampleDeployer() {
	folder, err := os.MkdirTemp("", "everseal")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	deployed := make(chan deploy.Result)
	d := &deploy.Deployer{
		Dir:      filepath.Join(folder, "live"),
		Command:  []string{"sh", "-c", `echo "reloaded for $RENEWED_DOMAINS" >"$RENEWED_LINEAGE/../../log"`}, // {"nginx", "-s", "reload"}
		Logger:   slog.New(slog.DiscardHandler),
		OnResult: func(r deploy.Result) { deployed <- r },
	}
	m, err := certmanager.New(certmanager.Config{
		Names: []string{"www.example.internal"}, Issuers: []certmanager.Issuer{new(certmanager.LocalCA)},
		Storage: new(storage.Memory), Logger: slog.New(slog.DiscardHandler), OnEvent: d.OnEvent,
	})
	if err != nil {
		log.Fatal(err)
	}
	d.Manager = m
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	go func() { ended <- d.Run(ctx) }()

	result := <-deployed
	fmt.Println(result.Names, result.Err)
	files, _ := filepath.Glob(filepath.Join(folder, "live", "*", "[a-z]*.pem"))
	for _, file := range files {
		fmt.Println(filepath.Base(file))
	}
	said, _ := os.ReadFile(filepath.Join(folder, "log"))
	fmt.Print(string(said))

	cancel()
	<-ended
	<-ended
	// Output:
	// [www.example.internal] <nil>
	// cert.pem
	// chain.pem
	// fullchain.pem
	// privkey.pem
	// reloaded for www.example.internal
}

// HAProxy, which reads each file of a folder.
func ExampleDeployer_oneFile() {
	d := &deploy.Deployer{
		Dir: "/etc/haproxy/certs", OneFile: true, Group: "haproxy",
		Command: []string{"systemctl", "reload", "haproxy"}, Together: true,
	}
	fmt.Println(d.Run(context.Background()) != nil) // for want of a Manager
	// Output: true
}
