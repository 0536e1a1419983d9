//go:build race

package kubernetes

// raceDetector says that the tests run several times slower: there is less of everything then.
const raceDetector = true
