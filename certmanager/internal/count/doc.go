// Package count counts what a manager does: handshakes, which come on all processors at once, by counters that are spread
// over cache lines; durations, by a histogram; and what happened on each of the last days.
package count
