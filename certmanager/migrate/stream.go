package migrate

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const (
	maxItem    = 4 << 20 // of one certificate or account in a stream of JSON, in bytes
	maxNesting = 10_000  // of what is passed over, as encoding/json has it
)

// A stream reads JSON of any length, of which no more than an item at a time is in memory.
type stream struct {
	in      *bounded
	decoder *json.Decoder
}

func newStream(in io.Reader) *stream {
	b := &bounded{in: in}
	return &stream{b, json.NewDecoder(b)}
}

// A bounded reader reads so much before it is allowed more.
type bounded struct {
	in   io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLongItem
	}
	n, err := b.in.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

var (
	errLongItem    = fmt.Errorf("an item of it is longer than %d bytes", maxItem)
	errNotExpected = errors.New("it is not what is expected")
)

// token returns the next token.
func (s *stream) token() (json.Token, error) {
	s.in.left = maxItem
	return s.decoder.Token()
}

// decode reads the next value. The error is errWrongType if only that value is of no use.
func (s *stream) decode(v any) error {
	s.in.left = maxItem
	err := s.decoder.Decode(v)
	if errors.As(err, new(*json.UnmarshalTypeError)) || errors.As(err, new(base64.CorruptInputError)) {
		return errWrongType
	}
	return err
}

// errWrongType is of a value that is JSON but not what is expected.
var errWrongType = errors.New("a member of the JSON has the wrong type, or is no base64")

// object reads an object. The function is called with each key, and reads the value.
func (s *stream) object(member func(key string) error) error {
	return s.within('{', func() error {
		key, err := s.token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		return member(name)
	})
}

// array reads an array. The function reads each element.
func (s *stream) array(element func() error) error { return s.within('[', element) }

// within reads what begins with the delimiter. What is null is as if it were empty. The error is io.EOF if nothing comes.
func (s *stream) within(begin json.Delim, each func() error) error {
	t, err := s.token()
	switch {
	case err != nil:
		return err
	case t == nil:
		return nil
	case t != begin:
		return fmt.Errorf("%w: %T where %v should be", errNotExpected, t, begin) // what it is may be a part of a key
	}
	for s.more() {
		if err := each(); err != nil {
			return unexpected(err)
		}
	}
	t, err = s.token()
	if err == nil && t != begin+2 { // the ends of both are two behind their beginnings
		err = errLongItem // more could not tell
	}
	return unexpected(err)
}

// more reports whether another element comes.
func (s *stream) more() bool {
	s.in.left = maxItem
	return s.decoder.More()
}

// unexpected returns the error, or that the end of the JSON comes too soon.
func unexpected(err error) error {
	if err == io.EOF { // and not one of the storage's that wraps it
		return io.ErrUnexpectedEOF
	}
	return err
}

// skip passes over a value.
func (s *stream) skip() error {
	for depth := 0; ; {
		t, err := s.token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth > maxNesting {
				return fmt.Errorf("%w: more than %d arrays and objects in one another", errNotExpected, maxNesting)
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}
