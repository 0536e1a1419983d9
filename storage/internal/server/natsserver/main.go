// Natsserver is a NATS server with JetStream, for the tests of package nats. Its argument is a configuration file.
package main

import (
	"fmt"
	"os"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: natsserver FILE, a configuration")
	}
	options, err := server.ProcessConfigFile(os.Args[1])
	if err != nil {
		return err
	}
	running, err := server.NewServer(options)
	if err != nil {
		return err
	}
	running.ConfigureLogger()
	running.Start()
	running.WaitForShutdown()
	return nil
}
