// Package nats keeps records in a key-value bucket of NATS JetStream, as a [storage.Store].
package nats
