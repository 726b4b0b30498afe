package policy

import "context"

// Worker is an instance of a policy. It belongs to one goroutine.
type Worker struct{}

// Flow asks about a flow. If the policy fails, or is ejected, the verdict is that of
// the policy's on_error (continue or drop, reason 0), and the error says why; it is
// counted already.
func (w *Worker) Flow(in *FlowInput) (Verdict, error) { panic("unfinished") }

// Fuel is how much the last call of Flow took.
func (w *Worker) Fuel() uint64 { panic("unfinished") }

// Close frees the instance.
func (w *Worker) Close(ctx context.Context) error { panic("unfinished") }
