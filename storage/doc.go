// Package storage is being written.
package storage
