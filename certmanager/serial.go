package certmanager

import (
	"bytes"
	"encoding/hex"
)

// The tags of ASN.1 that lead to a serial number.
const (
	tagInteger  = 0x02
	tagSequence = 0x30
	tagVersion  = 0xa0 // [0], which certificates of version 1 leave out
)

// serialOf returns the serial number of a certificate in DER, in hexadecimal as CAs show it; "" if it is none. It is asked of
// each of a million certificates each day, and parsing all of one takes a hundred times as long.
func serialOf(der []byte) string {
	certificate, _ := element(der, tagSequence)
	tbs, _ := element(certificate, tagSequence)
	if _, rest := element(tbs, tagVersion); rest != nil {
		tbs = rest
	}
	serial, _ := element(tbs, tagInteger)
	return hex.EncodeToString(bytes.TrimLeft(serial, "\x00"))
}

// element returns the content of the element with the tag that data begins with, and what follows it; nil: there is none.
func element(data []byte, tag byte) (content, rest []byte) {
	if len(data) < 2 || data[0] != tag {
		return nil, nil
	}
	length, data := int(data[1]), data[2:]
	if length >= 0x80 {
		octets := length - 0x80
		if octets > 3 || octets > len(data) {
			return nil, nil
		}
		length = 0
		for _, b := range data[:octets] {
			length = length<<8 | int(b)
		}
		data = data[octets:]
	}
	if length > len(data) {
		return nil, nil
	}
	return data[:length:length], data[length:]
}
