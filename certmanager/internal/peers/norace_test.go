//go:build !race

package peers

// raceDetector reports whether the tests run under the race detector, for which programs of others are all the same.
const raceDetector = false
