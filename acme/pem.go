package acme

import (
	"bytes"
	"encoding/pem"
	"unicode"
)

const (
	pemAny   = "-----BEGIN "
	pemBegin = "-----BEGIN CERTIFICATE-----"
	pemEnd   = "-----END CERTIFICATE-----"
)

// pemCertificates returns what each certificate's block in the text holds, in their order, and nil for a block
// that can't be read. Package pem finds only blocks that begin and end a line, and passes over what it can't
// read; CAs put less, or other things, between blocks, and the second is not to be taken for the first.
func pemCertificates(text []byte) [][]byte {
	var blocks [][]byte
	for _, rest := range bytes.Split(text, []byte(pemBegin))[1:] {
		content, _, ended := bytes.Cut(rest, []byte(pemEnd))
		if !ended {
			blocks = append(blocks, nil)
			continue
		}
		blocks = append(blocks, decodePEM(content))
	}
	return blocks
}

// decodePEM decodes what stands between the two boundaries of a block.
func decodePEM(content []byte) []byte {
	content = bytes.TrimSpace(bytes.Map(func(r rune) rune {
		if r == '\ufeff' || r != '\n' && unicode.IsSpace(r) {
			return -1
		}
		return r
	}, content))
	block, _ := pem.Decode(bytes.Join([][]byte{[]byte(pemBegin), content, []byte(pemEnd), nil}, []byte("\n")))
	if block == nil || len(block.Bytes) == 0 {
		return nil
	}
	return block.Bytes
}

// countOtherPEM returns how many blocks of the text are of other types.
func countOtherPEM(text []byte) int {
	return bytes.Count(text, []byte(pemAny)) - bytes.Count(text, []byte(pemBegin))
}
