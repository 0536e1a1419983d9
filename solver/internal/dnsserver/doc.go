// Package dnsserver answers questions about a few zones from the records of challenges: a DNS server with authority and
// nothing else. It asks nobody, transfers nothing, and signs nothing.
//
// What comes from the network is bounded before anything is done for it: the length of a question; over UDP, the length of
// an answer, by that of its question, and the answers to one network in a second, after which it is told to come by TCP, where
// addresses can't be made up; over TCP, connections, those of one network, the time each may take, and the questions that wait
// on it; and the questions that wait for records.
package dnsserver
