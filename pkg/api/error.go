package api

import (
	"errors"
	"fmt"
	"net/http"
)

// ErrNoDaemon says that nobody listens at the socket.
var ErrNoDaemon = errors.New("no daemon answers")

// Error is a request that the daemon understood and refused. A [Daemon]
// returns one to choose the HTTP status; other errors are sent with 500.
type Error struct {
	// Status is the HTTP status: 400 wrong request, 404 no such thing, 409 not
	// in this state, 422 a configuration that is wrong.
	Status  int
	Message string
}

func (e *Error) Error() string { return e.Message }

// Errorf returns an [*Error].
func Errorf(status int, format string, args ...any) error {
	return &Error{Status: status, Message: fmt.Sprintf(format, args...)}
}

// IsConfigError says whether err is the daemon's word that a configuration is
// wrong.
func IsConfigError(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == http.StatusUnprocessableEntity
}
