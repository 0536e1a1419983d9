package acme

import (
	"cmp"
	"fmt"
	"runtime/debug"
)

// A PanicError says that a method of a [Solver] panicked, or other code of the caller's: the panic has ended that call
// alone. It does not wrap Value, which may be an error: what a method returns and what it panics with are two things.
type PanicError struct {
	Func  string // what panicked, such as "Present"
	Value any    // what it panicked with
	Stack []byte // of the goroutine, as debug.Stack has it
}

// Error says what panicked with what. It leaves out the stack.
func (e *PanicError) Error() string {
	const maxLength = 300
	text := cmp.Or(e.Func, "it") + " panicked"
	if e.Value != nil {
		text += ": " + printable(fmt.Sprint(e.Value), maxLength)
	}
	return text
}

// guard calls f, whose panic becomes a *PanicError. The name is that of the caller's code in it.
func guard(name string, f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Func: name, Value: value, Stack: debug.Stack()}
		}
	}()
	return f()
}
