package deploy

import (
	"encoding/json"
	"errors"
	"time"
)

// A Result is what has come of deploying one certificate, or several by one run of the command.
type Result struct {
	Names    []string  `json:"names,omitempty"`    // whose files they are; empty: Dir itself can't be used
	Paths    []string  `json:"paths,omitempty"`    // of the folders or files, absolute, in the same order
	Err      error     `json:"-"`                  // nil: the files have the certificate, and the command has succeeded
	Attempts int       `json:"attempts,omitempty"` // that failed in a row, with Err
	Next     time.Time `json:"next,omitzero"`      // when the next attempt is due, with Err
}

// A shownResult is a Result as JSON has it.
type shownResult struct {
	resultFields
	Error string `json:"error,omitempty"`
}

// resultFields are those of a Result without its methods, for JSON not to call them again.
type resultFields Result

// MarshalJSON shows the error's text as "error".
func (r Result) MarshalJSON() ([]byte, error) {
	shown := shownResult{resultFields: resultFields(r)}
	if r.Err != nil {
		shown.Error = r.Err.Error()
	}
	return json.Marshal(shown)
}

// UnmarshalJSON reads what MarshalJSON gave. Of the error only the text is left.
func (r *Result) UnmarshalJSON(data []byte) error {
	var shown shownResult
	if err := json.Unmarshal(data, &shown); err != nil {
		return err
	}
	*r = Result(shown.resultFields)
	if shown.Error != "" {
		r.Err = errors.New(shown.Error)
	}
	return nil
}
