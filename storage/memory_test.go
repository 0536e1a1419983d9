package storage_test

import (
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

func TestMemory(t *testing.T) {
	many := 100_000
	if raceDetector || testing.Short() {
		many = 10_000
	}
	storagetest.Suite{
		Open: func(*testing.T) storage.Store { return new(storage.Memory) },
		Many: many,
	}.Run(t)
}
