package certmanager

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"

	"github.com/everseal/everseal/acme"
)

// guard calls f, which calls the user's code of that name. A panic in it becomes the error, an *acme.PanicError, and
// its stack is logged.
func guard(ctx context.Context, logger *slog.Logger, name string, f func() error) error {
	err := catch(name, f)
	logPanic(ctx, logger, err)
	return err
}

// shield is guard for what is called without a context.
func shield(logger *slog.Logger, name string, f func() error) error {
	err := catch(name, f)
	if panicked, ok := errors.AsType[*acme.PanicError](err); ok {
		logger.Error("a panic was recovered", "error", err.Error(), "stack", string(panicked.Stack))
	}
	return err
}

// catch calls f. A panic in it becomes the error.
func catch(name string, f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &acme.PanicError{Func: name, Value: value, Stack: debug.Stack()}
		}
	}()
	return f()
}

// logPanic logs the stack of the panic that the error comes from, if it does.
func logPanic(ctx context.Context, logger *slog.Logger, err error) {
	if panicked, ok := errors.AsType[*acme.PanicError](err); ok {
		logger.LogAttrs(ctx, slog.LevelError, "a panic was recovered", slog.String("error", err.Error()), slog.String("stack", string(panicked.Stack)))
	}
}

// supports is acme.Supports, but for a solver that panics, which counts as one that does: acme.Client.Issue says so.
func supports(s acme.Solver, id acme.Identifier, wildcard bool) (able bool) {
	defer func() { able = able || recover() != nil }()
	return acme.Supports(s, id, wildcard)
}
