//go:build race

package nats

// raceDetector is set where everything takes several times as long: what only takes many rounds takes fewer then.
const raceDetector = true
