package policy

// Error is what a policy did wrong, and in which hook or function.
type Error struct {
	// Policy is the operator's name for it.
	Policy string
	// Where is a hook, or one of load, start, validate, configure, alloc.
	Where string
	Err   error
}

// Error returns `policy "name": where: text`.
func (e *Error) Error() string { panic("unfinished") }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
