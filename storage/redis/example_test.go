package redis_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/everseal/everseal/storage/redis"
)

// A URL names everything: server, user, database, the place of the program's records there, and how many replicas must have
// each change. Nothing has to run yet.
func ExampleOpen() {
	store, err := redis.Open(context.Background(), "redis://program:pass%2Fword@localhost:1/0?prefix=shop&replicas=1", redis.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("opened:", store.Close() == nil)

	_, err = redis.Open(context.Background(), "redis://program:pass/word@localhost", redis.Config{})
	fmt.Println("understood:", err == nil, errors.Unwrap(err))
	// Output:
	// opened: true
	// understood: false <nil>
}
