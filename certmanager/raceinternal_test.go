//go:build race

package certmanager

// underRace reports whether the tests run under the race detector: long simulations are shorter then.
const underRace = true
