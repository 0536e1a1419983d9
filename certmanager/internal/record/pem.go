package record

import (
	"bytes"
	"encoding/base64"
	"errors"
)

// nextBlock splits the block of PEM off that the text begins with. Package pem passes over what it can't read: a chain
// would lose a damaged certificate without a word. Here the text is blocks with nothing but white space between them.
func nextBlock(text []byte) (label, content, rest []byte, err error) {
	const begin, end, dashes = "-----BEGIN ", "-----END ", "-----"
	body, ok := bytes.CutPrefix(text, []byte(begin))
	if !ok {
		return nil, nil, nil, errors.New("a block of PEM does not begin where it is expected")
	}
	label, body, ok = bytes.Cut(body, []byte(dashes))
	if !ok {
		return nil, nil, nil, errors.New("the first line of a block of PEM is cut off")
	}
	content = body[:max(bytes.IndexByte(body, '-'), 0)] // which base64 does not have
	rest = body[len(content):]
	for _, part := range [][]byte{[]byte(end), label, []byte(dashes)} {
		if rest, ok = bytes.CutPrefix(rest, part); !ok {
			return nil, nil, nil, errors.New("a block of PEM is cut off or damaged")
		}
	}
	return label, content, bytes.TrimLeft(rest, "\r\n\t "), nil
}

// decodeBase64 returns what the content of a block says, in its own size.
func decodeBase64(content []byte) ([]byte, error) {
	breaks := bytes.Count(content, []byte("\n")) + bytes.Count(content, []byte("\r"))
	data := make([]byte, base64.StdEncoding.DecodedLen(len(content)-breaks))
	n, err := base64.StdEncoding.Decode(data, content)
	return data[:n], err
}
